"""The distillation methods and their registry: METHODS[key]() is a loss (students, teachers) -> scalar."""

from kdrecon.distillation.base import TAPS, Method, select, tap_layers
from kdrecon.distillation.features import (
    ActivationBoundaries,
    AttentionTransfer,
    FitNets,
    FlowOfSolution,
    NeuronSelectivity,
    SoftmaxDivergence,
)
from kdrecon.distillation.interactive import Interactive
from kdrecon.distillation.learned import FactorTransfer, VariationalInformation
from kdrecon.distillation.relational import (
    CorrelationCongruence,
    ProbabilisticTransfer,
    RelationalDistillation,
    SimilarityPreserving,
)
from kdrecon.distillation.released import (
    ReleasedAttentionTransfer,
    ReleasedCorrelationCongruence,
    ReleasedFitNets,
    ReleasedFlowOfSolution,
    ReleasedSimilarityPreserving,
)
from kdrecon.distillation.spectral import SingularVectors
from kdrecon.errors import InputError, shown

METHODS: dict[str, type[Method]] = {
    "at": AttentionTransfer,
    "fitnets": FitNets,
    "cc": CorrelationCongruence,
    "fsp": FlowOfSolution,
    "sp": SimilarityPreserving,
    "kl": SoftmaxDivergence,
    "pkt": ProbabilisticTransfer,
    "ab": ActivationBoundaries,
    "ft": FactorTransfer,
    "vid": VariationalInformation,
    "kdsvd": SingularVectors,
    "nst": NeuronSelectivity,
    "rkd": RelationalDistillation,
    "ikd": Interactive,
}
RELEASED: dict[str, type[Method]] = {
    "at": ReleasedAttentionTransfer,
    "fitnets": ReleasedFitNets,
    "cc": ReleasedCorrelationCongruence,
    "fsp": ReleasedFlowOfSolution,
    "sp": ReleasedSimilarityPreserving,
}
FORMS = {"paper": METHODS, "released": RELEASED}


def get_method(key: str, form: str = "paper") -> type[Method]:
    """The method of that key, as its paper has it or as the code released with SFT-KD-Recon does.

    Args:
        key: of :data:`METHODS`.
        form: "paper" or "released".

    Raises:
        InputError: no such method or form, or a method that has no released form.
    """
    if form not in FORMS:
        raise InputError(f"kd_form {form!r} is unknown: expected one of {', '.join(FORMS)}")
    if key not in METHODS:
        raise InputError(f"method {shown(key)} is unknown: expected one of {', '.join(METHODS)}")
    if key not in FORMS[form]:
        known = ", ".join(FORMS[form])
        raise InputError(f"method {shown(key)} has no {form} form: expected one of {known}, or kd_form 'paper'")
    return FORMS[form][key]


__all__ = ["FORMS", "METHODS", "RELEASED", "TAPS", "Method", "get_method", "select", "tap_layers"]
