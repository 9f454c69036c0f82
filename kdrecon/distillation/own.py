"""A distillation method of one's own: a function or a module that becomes a method under its name.

>>> from kdrecon.distillation.own import own_method
>>> def brightest(s, t):
...     return (s.amax((2, 3)) - t.amax((2, 3))).square().mean()
>>> own_method(brightest, weight=1e-2).partition("-")[0]
'brightest'
"""

import hashlib
import inspect
import math
from collections.abc import Callable
from copy import deepcopy
from textwrap import dedent
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from kdrecon.distillation.base import Method
from kdrecon.distillation.registry import FORMS
from kdrecon.errors import InputError, first_line, shown

MapLoss = Callable[[Tensor, Tensor], Tensor]  # of maps (B, C, H, W) of student and teacher in one cascade, a scalar
SIDE = 32  # of the maps that a loss is tried with


class OwnMethod(Method):
    """A loss between the maps of student and teacher that somebody wrote elsewhere: a mean over cascades, as of all methods.

    A module is copied once a cascade, and its parameters are trained with the student.

    Attributes:
        given: the function or module, alone in a tuple, so that a function does not become a method of this class.
    """

    given: ClassVar[tuple[MapLoss]]

    def __init__(self, channels: int = 32, cascades: int = 5):
        super().__init__(channels, cascades)
        self.losses = [deepcopy(self.given[0]) for _ in range(cascades)]
        self.parts = nn.ModuleList(loss for loss in self.losses if isinstance(loss, nn.Module))

    def loss(self, s: Tensor, target: Tensor, cascade: int) -> Tensor:
        return self.losses[cascade](s, target)


def own_method(loss: MapLoss | type[Method], weight: float | None = None, channels: int = 32) -> str:
    """Enter a loss of one's own among the methods, for this Python process.

    Args:
        loss: (s, t) -> scalar of the maps (B, C, H, W) of student and teacher in one cascade, both divided by the standard
            deviation of the teacher's: a function, or a module; or a subclass of :class:`Method`.
        weight: w of its term; by default 1, or that of the class.
        channels: of the random maps that a function or module is tried with.

    Returns:
        its key: the name, and a digest of source, settings and weight, for whoever changes it means another method. What it
        takes from elsewhere, such as a global number, is not in the digest.

    Raises:
        InputError: no function, module or class with a name and a source; a weight that is no positive number; or a loss
            that stops with an error, or is no scalar that depends on the student's maps.
    """
    definition = type(loss) if isinstance(loss, nn.Module) else loss
    name = getattr(definition, "__name__", "")
    if not callable(loss) or isinstance(loss, type) and not issubclass(loss, Method) or not name.isidentifier():
        raise InputError(
            f"method {shown(loss)}: expected a key, a function with a name, a module, or a subclass of Method; define it "
            "with def"
        )
    base: type[Method] = loss if isinstance(loss, type) else OwnMethod
    weight = base.weight if weight is None else weight
    if isinstance(weight, bool) or not isinstance(weight, int | float) or not 0 < weight < math.inf:
        raise InputError(f"weight = {shown(weight)} of {name}: expected a positive number, such as 5e-3")
    try:
        source = dedent(inspect.getsource(definition))
    except (OSError, TypeError):
        raise InputError(
            f"method {name}: expected a source that can be read; define it in a notebook or a file"
        ) from None
    own: dict[str, Any] = {"weight": float(weight), "source": source, "__doc__": inspect.getdoc(definition)}
    settings = {}
    if not isinstance(loss, type):
        own["given"] = (loss,)
        with torch.random.fork_rng(devices=[]):
            _try(deepcopy(loss), name, channels)
    if isinstance(loss, nn.Module):
        settings = {key: value for key, value in vars(loss).items() if isinstance(value, int | float | str)}
    digest = hashlib.sha256(f"{source}{settings}{float(weight)}".encode()).hexdigest()
    key, made = f"{name}-{digest[:6]}", type(name, (base,), own)
    for methods in FORMS.values():
        methods[key] = made
    return key


def _try(loss: MapLoss, name: str, channels: int) -> None:
    """Raise InputError for a loss that a training could not minimise."""
    s, t = (torch.rand(2, channels, SIDE, SIDE, requires_grad=own) for own in (True, False))
    maps = f"{name} of random maps {tuple(t.shape)}"
    try:
        value: Any = loss(s, t)
    except Exception as error:
        raise InputError(f"{maps} stops with {type(error).__name__}: {first_line(error)}; correct it") from error
    if not isinstance(value, Tensor) or value.shape or not value.is_floating_point():
        told = f"a tensor {tuple(value.shape)}" if isinstance(value, Tensor) else shown(value)
        raise InputError(f"{maps} is {told}: expected a scalar tensor; return one number, such as a mean")
    if not value.requires_grad or torch.autograd.grad(value, s, allow_unused=True)[0] is None:
        raise InputError(f"{maps} does not depend on the student: expected a loss that the student's weights can lower")
