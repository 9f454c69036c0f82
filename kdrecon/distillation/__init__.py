"""The distillation methods and their registry: METHODS[key]() is a loss (students, teachers) -> scalar."""

from kdrecon.distillation.base import Method, select, tap_layers
from kdrecon.distillation.features import AttentionTransfer, FitNets, FlowOfSolution
from kdrecon.distillation.relational import CorrelationCongruence, SimilarityPreserving
from kdrecon.errors import InputError

METHODS: dict[str, type[Method]] = {
    "at": AttentionTransfer,
    "fitnets": FitNets,
    "cc": CorrelationCongruence,
    "fsp": FlowOfSolution,
    "sp": SimilarityPreserving,
}


def get_method(key: str) -> type[Method]:
    """The method of that key; InputError if there is none."""
    if key not in METHODS:
        raise InputError(f"method {key!r} is unknown: expected one of {', '.join(METHODS)}")
    return METHODS[key]


__all__ = ["METHODS", "Method", "get_method", "select", "tap_layers"]
