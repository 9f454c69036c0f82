"""The distillation methods by key: METHODS[key]() is a loss (students, teachers) -> scalar."""

from collections import UserDict
from collections.abc import Mapping
from importlib import import_module
from typing import TYPE_CHECKING, Any

from kdrecon.errors import InputError, shown

if TYPE_CHECKING:
    from kdrecon.distillation.base import Method


class Registry(UserDict[str, "type[Method]"]):
    """Methods by key. The entry "module.Class" of this package becomes the class when it is first asked for."""

    def __init__(self, entries: "Mapping[str, str | type[Method]]"):
        super().__init__()
        self.data: dict[str, Any] = dict(entries)

    def __getitem__(self, key: str) -> "type[Method]":
        if isinstance(entry := self.data[key], str):
            module, name = entry.split(".")
            self.data[key] = getattr(import_module(f"kdrecon.distillation.{module}"), name)
        return self.data[key]


METHODS = Registry(
    {
        "at": "features.AttentionTransfer",
        "fitnets": "features.FitNets",
        "cc": "relational.CorrelationCongruence",
        "fsp": "features.FlowOfSolution",
        "sp": "relational.SimilarityPreserving",
        "kl": "features.SoftmaxDivergence",
        "pkt": "relational.ProbabilisticTransfer",
        "ab": "features.ActivationBoundaries",
        "ft": "learned.FactorTransfer",
        "vid": "learned.VariationalInformation",
        "kdsvd": "spectral.SingularVectors",
        "nst": "features.NeuronSelectivity",
        "rkd": "relational.RelationalDistillation",
        "ikd": "interactive.Interactive",
    }
)
RELEASED = Registry(
    {
        "at": "released.ReleasedAttentionTransfer",
        "fitnets": "released.ReleasedFitNets",
        "cc": "released.ReleasedCorrelationCongruence",
        "fsp": "released.ReleasedFlowOfSolution",
        "sp": "released.ReleasedSimilarityPreserving",
    }
)
FORMS = {"paper": METHODS, "released": RELEASED}


def check_method(key: str, form: str = "paper") -> None:
    """Raise InputError for a method or form that :func:`get_method` does not know."""
    if form not in FORMS:
        raise InputError(f"kd_form {form!r} is unknown: expected one of {', '.join(FORMS)}")
    if key not in METHODS:
        raise InputError(f"method {shown(key)} is unknown: expected one of {', '.join(METHODS)}")
    if key not in FORMS[form]:
        known = ", ".join(FORMS[form])
        raise InputError(f"method {shown(key)} has no {form} form: expected one of {known}, or kd_form 'paper'")


def get_method(key: str, form: str = "paper") -> "type[Method]":
    """The method of that key, as its paper has it or as the code released with SFT-KD-Recon does.

    Args:
        key: of :data:`METHODS`.
        form: "paper" or "released".

    Raises:
        InputError: no such method or form, or a method that has no released form.
    """
    check_method(key, form)
    return FORMS[form][key]
