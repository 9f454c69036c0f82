"""The switches of a run, and the named sets of them that papers and their code stand for.

>>> from kdrecon.runs.switches import Switches
>>> Switches.of("as_released").changed()
{'imitation': 'released', 'kd_form': 'released', 'schedule': 'two_stage'}
"""

from dataclasses import dataclass, fields, replace
from typing import Any

from kdrecon.choices import BASELINES, FIDELITIES, IMITATIONS, MASK_TYPES, SELECTIONS, SFT_TERMS
from kdrecon.distillation.registry import FORMS, IMAGE
from kdrecon.errors import InputError, shown
from kdrecon.models.architectures import FITTING, always_residual, fits, is_vdsr, network_shape

FROM_SFT = ("sft", "sft_trained")  # first weights that go back to the SFT training of the run
INITS = ("random", *FROM_SFT)
CHOICES: dict[str, tuple[str, ...]] = {
    "fidelity": FIDELITIES,
    "mask_type": MASK_TYPES,
    "imitation": IMITATIONS,
    "sft_terms": SFT_TERMS,
    "student_init": ("matched", *INITS),
    "kd_form": tuple(FORMS),
    "schedule": ("joint", "two_stage"),
    "selection": SELECTIONS,
}
SUPER_RESOLUTION: dict[str, Any] = {"mask_type": "lowpass", "fidelity": "none"}
PRESETS: dict[str, dict[str, Any]] = {
    "paper": {},
    "course": {"residual": True, "student_network": "D2C5"},
    "as_released": {"imitation": "released", "kd_form": "released", "schedule": "two_stage"},
    "kd_mri": {"residual": True, "schedule": "two_stage", "alpha": 0.5},
    "super_resolution": SUPER_RESOLUTION | {"teacher_network": "V12", "student_network": "V4"},
    "super_resolution_kd_mri": SUPER_RESOLUTION
    | {"teacher_network": "V11", "student_network": "V7", "schedule": "two_stage", "alpha": 0.5},
}
RANGES: dict[str, tuple[float, float]] = {
    "alpha": (0, 1),
    "weight_factor": (0, 1e6),
    "teacher_epochs": (0, 2**31),
    "train_slices": (0, 2**31),
}
EVERY_NETWORK = ("fidelity", "residual", "mask_type", "train_slices", "selection")
SFT_TRAINING = ("imitation", "sft_terms")
OF_MAPS = ("kd_form", "schedule", "weight_factor")  # switches of a method that compares maps
HALF = 0.5  # alpha where the teacher's image is all there is to imitate, and a run does not say how much: KD-MRI's
DISTILLATION = ("teacher_network", "kd_form", "schedule", "alpha", "weight_factor", "teacher_epochs")


@dataclass(frozen=True)
class Switches:
    """Where a run may leave the paper; the defaults are the paper.

    Attributes:
        teacher_network: architecture of the teachers: "D5C5", another DdCc, "DC-UNet", "DC-UNet-author", or a VDSR such as
            "V12" (:func:`kdrecon.models.dc_cnn`).
        student_network: architecture of the students and of the branches of the SFT training: "D3C5", "D4C5", "D2C5", ...; of
            a VDSR "V4" or another one.
        fidelity: "real", as in the released code (the paper writes of complex images), "hermitian", or "none"
            (:class:`kdrecon.physics.fidelity.DataFidelity`).
        residual: residual connection round each CNN block (:class:`kdrecon.models.blocks.CNNBlock`); a VDSR and
            DC-UNet-author always have it.
        mask_type: "line", "gaussian" or, for super-resolution, "lowpass" (:func:`kdrecon.physics.sampling.mask_for`).
        imitation: "paper" or "released", form of the third SFT term (:func:`kdrecon.models.sft.sft_loss`).
        sft_terms: "all", "without_student" or "without_imitation": which terms the SFT loss adds up.
        student_init: first weights of a distilled student: "random"; "sft", blocks S2 to SN of the SFT training;
            "sft_trained", the stage that the scripts released with the paper name studentSFTN and the paper does not
            mention: a student that went on from these blocks alone, with L1, for as many epochs as a training has;
            "matched", the paper's choice: random below the standard teacher, sft below the SFT teacher.
        kd_form: "paper" or "released", form of the distillation losses (:func:`kdrecon.distillation.get_method`).
        schedule: "joint", all terms of a distillation together; "two_stage", w L_KD alone, then the other terms alone, each
            for as many epochs as a joint training has, with an optimiser and a learning-rate schedule of its own. The
            second stage goes on from the last weights of the first; the released code takes those with the lowest
            L_KD on the validation slices. Paper and scripts take 150 epochs a stage.
        alpha: weight of the imitation between the outputs of teacher and distilled student, 0 to 1
            (:class:`kdrecon.training.objectives.Distillation`). KD-MRI's alpha weighs the reconstruction: equal at 0.5.
            The method "image", which is nothing but this imitation, takes 0.5 where alpha is 0.
        weight_factor: multiplies the weight w that a method states of its loss term.
        teacher_epochs: epochs of the teacher and the SFT training; 0: as many as every other training.
        train_slices: how many of the training slices are used, evenly spaced; 0: all.
        selection: where a data set has no test split, "halves": the best epoch is chosen on one half of the validation
            people, and the other half reports; or "paper", all of them do both, which praises the choice. The one switch
            whose default is not the papers' way. With a test split, or one validation person, it makes no difference.

    "course" is what the lessons train: the paper's method with KD-MRI's residual blocks and the smallest of the paper's
    students, which a teacher of the same few epochs leads on people whom no network has seen (docs/study.md).
    "kd_mri" is KD-MRI's text. Its released code departs from it: Adam at 1e-3 with StepLR instead of 1e-4, the best epoch
    by MSE, attention normalised over the batch, alpha without use. kd_form "released", alpha 0 and lr 1e-3 come near.

    "super_resolution" is the appendix of SFT-KD-Recon, which says neither how it unfolds a VDSR nor which maps it compares;
    "super_resolution_kd_mri" the second folder of KD-MRI's code. Both take real images here.

    Source: SFT-KD-Recon; KD-MRI; the code released with them.
    """

    teacher_network: str = "D5C5"
    student_network: str = "D3C5"
    fidelity: str = "real"
    residual: bool = False
    mask_type: str = "line"
    imitation: str = "paper"
    sft_terms: str = "all"
    student_init: str = "matched"
    kd_form: str = "paper"
    schedule: str = "joint"
    alpha: float = 0.0
    weight_factor: float = 1.0
    teacher_epochs: int = 0
    train_slices: int = 0
    selection: str = "halves"

    @classmethod
    def of(cls, preset: str, changes: dict | None = None) -> "Switches":
        """The switches of a preset with changes on top of it, as a parameter file gives them.

        Raises:
            InputError: unknown preset or switch, or a value that the switch does not take.
        """
        if preset not in PRESETS:
            raise InputError(f"preset {shown(preset)} is unknown: expected one of {', '.join(PRESETS)}")
        switches = cls.checked(PRESETS[preset] | (changes or {}))
        teacher, student = switches.teacher_network, switches.student_network
        vdsr = is_vdsr(teacher)
        parts, student_parts = (network_shape(name)[0 if vdsr else 1] for name in (teacher, student))
        if is_vdsr(student) != vdsr or not fits(parts, student_parts, vdsr):
            raise InputError(f"teacher_network {teacher!r} with student_network {student!r}: expected {FITTING}")
        return switches

    @classmethod
    def checked(cls, values: dict) -> "Switches":
        """The switches of the given values, all others at their default.

        Raises:
            InputError: unknown switch, or a value that it does not take.
        """
        known = {field.name: field.default for field in fields(cls)}
        if unknown := [name for name in values if name not in known]:
            raise InputError(f"switch {shown(unknown[0])} is unknown: expected one of {', '.join(known)}")
        return cls(**{name: _value(name, value, known[name]) for name, value in values.items()})

    def start(self, teacher: str) -> str:
        """First weights of a student that is distilled from this teacher, one of :data:`INITS`: what student_init says."""
        return matched_start(teacher) if self.student_init == "matched" else self.student_init

    def acting_on(self, role: str, teacher: str = "", init: str = "random", method: str = "") -> "Switches":
        """These switches as far as they make a difference to one network, all others at their default.

        Networks that do not depend on a switch are thus the same network, in the same folder, whatever its value.

        Args:
            role, teacher, init, method: of the network, see :class:`kdrecon.runs.experiment.Experiment`.
        """
        architecture = self.teacher_network if role == "teacher" else self.student_network
        names = acting_switches(architecture, role, teacher, init, method)
        acting = replace(Switches(), **{name: getattr(self, name) for name in names})
        return replace(acting, alpha=acting.alpha or HALF) if method == IMAGE else acting

    def changed(self) -> dict:
        """The switches that differ from the paper."""
        return {field.name: value for field in fields(self) if (value := getattr(self, field.name)) != field.default}


def acting_switches(
    architecture: str, role: str, teacher: str = "", init: str = "random", method: str = ""
) -> tuple[str, ...]:
    """The names of the switches that make a difference to one network.

    Args:
        architecture: of the network, of an SFT training that of its student.
        role, teacher, init, method: of the network, see :class:`kdrecon.runs.experiment.Experiment`.
    """
    names: tuple[str, ...] = ("mask_type",) if role in BASELINES else EVERY_NETWORK
    if always_residual(architecture):
        names = tuple(name for name in names if name != "residual")
    if role == "sft_teacher":
        names += ("student_network", *SFT_TRAINING)
    if teacher == "sft" or init in FROM_SFT:
        names += SFT_TRAINING
        names += () if teacher else ("teacher_network", "teacher_epochs")
    if teacher:
        names += DISTILLATION
    if method == IMAGE:
        names = tuple(name for name in names if name not in OF_MAPS)
    return names


def matched_start(teacher: str) -> str:
    """The paper's first weights of a student: "sft" below the SFT teacher, "random" below the standard one and below none."""
    return "sft" if teacher == "sft" else "random"


def _value(name: str, value: Any, default: Any) -> Any:
    """The value in the switch's type, or InputError."""
    if name in CHOICES:
        if value not in CHOICES[name]:
            raise InputError(f"switch {name} = {shown(value)}: expected one of {', '.join(CHOICES[name])}")
    elif isinstance(default, bool):
        if not isinstance(value, bool):
            raise InputError(f"switch {name} = {shown(value)}: expected true or false")
    elif name in RANGES:
        low, high = RANGES[name]
        try:
            number = type(default)(value)
        except (TypeError, ValueError, OverflowError):
            number = -1
        if isinstance(value, bool) or not low <= number <= high or number != float(value):
            kind = "an integer" if isinstance(default, int) else "a number"
            raise InputError(f"switch {name} = {shown(value)}: expected {kind} from {low} to {high:g}")
        return number
    else:
        network_shape(value)
    return value
