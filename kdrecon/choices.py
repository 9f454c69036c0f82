"""Words that a person may choose among, and the baselines of tasks, read without PyTorch.

>>> from kdrecon.choices import MASK_TYPES
>>> MASK_TYPES
('line', 'gaussian', 'lowpass')
"""

AUGMENTATIONS = ("none", "flips")  # of kdrecon.training.augmentation
LR_SCHEDULES = ("steps", "one_cycle")  # of kdrecon.training.recipe.Recipe
SPLITS = ("train", "validation", "test")  # of a data set
FIDELITIES = ("real", "hermitian", "none")  # of kdrecon.physics.fidelity.DataFidelity
MASK_TYPES = ("line", "gaussian", "lowpass")  # of kdrecon.physics.sampling.mask_for
SELECTIONS = ("halves", "paper")  # of kdrecon.runs.laboratory.Laboratory
IMITATIONS = ("paper", "released")  # of kdrecon.models.sft.sft_loss
SFT_TERMS = ("all", "without_student", "without_imitation")  # likewise
BASELINES = {"zero_filled": "zero-filled"}  # of kdrecon.tasks: name in records, where no network is, and in tables
MARGIN = {"psnr": 0.1}  # by metric, in its unit: smaller differences are taken for none
TOLERANCES = {"fp32": 1e-4, "fp16": 1e-2, "int8": 0.25}  # of exports, by precision: of a pixel against PyTorch
