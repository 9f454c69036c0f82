"""What a layer, a mask or a loss may be told to do, and the baselines of tasks: words, read without PyTorch.

>>> from kdrecon.choices import MASK_TYPES
>>> MASK_TYPES
('line', 'gaussian')
"""

FIDELITIES = ("real", "hermitian")  # of kdrecon.physics.fidelity.DataFidelity
MASK_TYPES = ("line", "gaussian")  # of kdrecon.physics.sampling.mask_for
IMITATIONS = ("paper", "released")  # of kdrecon.models.sft.sft_loss
SFT_TERMS = ("all", "without_student", "without_imitation")  # likewise
BASELINES = {"zero_filled": "zero-filled"}  # of kdrecon.tasks: name in records, where no network is, and in tables
