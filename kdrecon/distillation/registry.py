"""The distillation methods by key: METHODS[key]() is a loss (students, teachers) -> scalar.

>>> from kdrecon.distillation.registry import METHODS, get_method
>>> "at" in METHODS, get_method("fsp").__name__
(True, 'FlowOfSolution')
"""

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
        "ah": "features.AttentiveHint",
    }
)
RELEASED = Registry(
    {
        "at": "released.ReleasedAttentionTransfer",
        "fitnets": "released.ReleasedFitNets",
        "cc": "released.ReleasedCorrelationCongruence",
        "fsp": "released.ReleasedFlowOfSolution",
        "sp": "released.ReleasedSimilarityPreserving",
        "ft": "released.ReleasedFactorTransfer",
        "pkt": "released.ReleasedProbabilisticTransfer",
        "nst": "features.NeuronSelectivity",  # as in the paper
    }
)
FORMS = {"paper": METHODS, "released": RELEASED}
IMAGE = "image"  # the teacher's image is imitated, and nothing else
WITHOUT_MAPS = ("ikd", IMAGE)  # methods that are an objective of their own: kdrecon.training.objectives.OBJECTIVES
LIBRARY = frozenset((*METHODS, *WITHOUT_MAPS))  # known to every process, unlike a method of one's own


def method_keys() -> list[str]:
    """The keys of all methods that a student can be distilled with."""
    return [*METHODS, *WITHOUT_MAPS]


def check_method(key: str, form: str = "paper") -> None:
    """Raise InputError for a method or a form that is not there, or a method that has no such form."""
    if form not in FORMS:
        raise InputError(f"kd_form {form!r} is unknown: expected one of {', '.join(FORMS)}")
    if key not in method_keys():
        raise InputError(f"method {shown(key)} is unknown: expected one of {', '.join(method_keys())}")
    if form != "paper" and key not in (*FORMS[form], IMAGE):  # which has no form to choose
        known = ", ".join(FORMS[form])
        raise InputError(f"method {shown(key)} has no {form} form: expected one of {known}, or kd_form 'paper'")


def get_method(key: str, form: str = "paper") -> "type[Method]":
    """The method of that key, as its paper has it or as the code released with SFT-KD-Recon does.

    Args:
        key: of :data:`METHODS`.
        form: "paper" or "released".

    Raises:
        InputError: no such method or form, or a method that has no released form, or none that compares maps.
    """
    check_method(key, form)
    if key in WITHOUT_MAPS:
        raise InputError(
            f"method {key!r} compares no feature maps: expected kdrecon.training.objectives.distil to build it"
        )
    return FORMS[form][key]
