"""What the exercise checks are made of: the verdict, and small tests that end in a hint instead of a traceback.

>>> from kdrecon.teaching.checks.verdict import Verdict
>>> Verdict(True, "Right.").right
True
"""

import html
import traceback
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps
from typing import Any

import numpy as np
import torch
from torch import Tensor

from kdrecon.errors import first_line


@dataclass(frozen=True)
class Verdict:
    """What a check says: right or not yet, and why. A notebook shows it as a sentence."""

    right: bool
    message: str

    def __repr__(self) -> str:
        return f"right: {self.message}" if self.right else f"not yet, because {self.message}"

    def _repr_html_(self) -> str:
        colour = "#009E73" if self.right else "#D55E00"
        start, rest = ("right", ": ") if self.right else ("not yet", ", because ")
        text = f"<b>{start}</b>{rest}{html.escape(self.message)}"
        return f'<div style="border-left: 5px solid {colour}; padding: 0.2em 0.8em">{text}</div>'


class NotYet(Exception):
    """An answer is not right yet; the message is the hint, the end of a sentence that starts "not yet, because"."""


def exercise(check: Callable[..., str]) -> Callable[..., Verdict]:
    """Turn a check, which raises NotYet with a hint or returns what to take home, into one that returns a Verdict."""

    @wraps(check)
    def verdict(*answers: object) -> Verdict:
        if len(answers) != 1:
            return Verdict(False, f"{len(answers)} answers were given: expected one, as in the cell of the exercise.")
        try:
            with warnings.catch_warnings(), np.errstate(all="ignore"):
                warnings.simplefilter("ignore")
                return Verdict(True, check(answers[0]))
        except NotYet as hint:
            return Verdict(False, str(hint))
        except Exception as error:
            return Verdict(False, f"the answer could not be checked ({_named(error)}). Compare it with the exercise.")

    return verdict


def call(function: object, *arguments: object) -> Any:
    """What the student's function returns.

    Raises:
        NotYet: it is no function, returns nothing, or stops with an error.
    """
    if not callable(function):
        raise NotYet(f"the answer is {kind(function)}: expected a function. Give its name, without brackets.")
    try:
        result = function(*arguments)
    except NotImplementedError:
        result = None
    except Exception as error:
        frames = traceback.extract_tb(error.__traceback__)[1:2]
        where = f' in the line "{frames[0].line}"' if frames and frames[0].line else ""
        raise NotYet(f"the function stopped{where}: {_named(error)}.") from None
    if result is None or result is Ellipsis:
        raise NotYet("the function returns nothing yet. Write its body and return the result.")
    return result


def tensor(value: object, like: Tensor) -> Tensor:
    """The value as a tensor of the shape of ``like``, without a graph.

    Raises:
        NotYet: another type or shape, complex where ``like`` is real, or values that are not finite.
    """
    if isinstance(value, np.ndarray):
        value = torch.from_numpy(value)
    if not isinstance(value, Tensor):
        raise NotYet(f"the function returns {kind(value)}: expected a tensor of shape {tuple(like.shape)}.")
    if value.shape != like.shape:
        raise NotYet(f"the result is of shape {tuple(value.shape)}: expected {tuple(like.shape)}.")
    if value.is_complex() and not like.is_complex():
        raise NotYet("the result is complex: expected real numbers.")
    if not value.isfinite().all():
        raise NotYet("the result holds NaN or infinite values: look for a division by zero.")
    return value.detach()


def number(value: object) -> Tensor:
    """The value as a scalar tensor, float64, without a graph.

    Raises:
        NotYet: it is no real, finite number.
    """
    if isinstance(value, Tensor | np.ndarray) and value.ndim == 0:
        value = value.item()
    if isinstance(value, bool | np.bool_) or not isinstance(value, int | float | np.integer | np.floating):
        raise NotYet(f"the result is {kind(value)}: expected one number.")
    if not np.isfinite(value):
        raise NotYet(f"the result is {value}: look for a division by zero.")
    return torch.tensor(float(value), dtype=torch.float64)


def numbers(value: object, count: int, expected: str) -> Tensor:
    """So many numbers as a tensor (count,), float64, without a graph.

    Raises:
        NotYet: no list or tuple of so many, or one of them is no real, finite number.
    """
    if not isinstance(value, list | tuple) or len(value) != count:
        raise NotYet(f"the function returns {kind(value)}: expected {expected}.")
    return torch.stack([number(item) for item in value])


def rule_out(got: object, wrong: dict[str, Any], tolerance: float = 1e-4) -> None:
    """Raise NotYet with the hint of the first typical wrong value that the answer equals; ``wrong`` is hint -> value."""
    for hint, value in wrong.items():
        if _same(got, torch.as_tensor(value), tolerance):
            raise NotYet(hint)


def equal(got: Tensor, want: Any, hint: str, tolerance: float = 1e-4) -> None:
    """Raise NotYet with the hint unless the answer equals what is wanted."""
    if not _same(got, torch.as_tensor(want), tolerance):
        raise NotYet(f"the values are not the expected ones: {hint}.")


def kind(value: object) -> str:
    """What a value is, for a sentence."""
    if value is None:
        return "nothing (None)"
    if isinstance(value, Tensor | np.ndarray):
        return f"an array of shape {tuple(value.shape)}"
    if isinstance(value, list | tuple):
        return f"a {type(value).__name__} of {len(value)}"
    return f"of type {type(value).__name__}"


def _same(got: object, want: Tensor, tolerance: float) -> bool:
    if not isinstance(got, Tensor) or got.shape != want.shape or got.is_complex() != want.is_complex():
        return False
    precision = torch.complex128 if want.is_complex() else torch.float64
    got, want = got.detach().to("cpu", precision), want.detach().to(precision)
    return torch.allclose(got, want, rtol=tolerance, atol=tolerance * float(want.abs().max()) + 1e-12)


def _named(error: Exception) -> str:
    message = first_line(error)
    return type(error).__name__ if message == type(error).__name__ else f"{type(error).__name__}, {message}"
