"""A network outside its training code: the checks of notebook 09.

>>> from kdrecon.teaching.checks.deploy import parity
>>> parity(lambda ours, theirs, inputs: max(abs(ours(x) - theirs(x)).max() for x in inputs[:1])).right
False
"""

from collections.abc import Callable

import numpy as np

from kdrecon.teaching.checks.inputs import random
from kdrecon.teaching.checks.verdict import NotYet, call, equal, exercise, kind, number, rule_out

CALLS = {"Conv": [40, 41, 39], "MatMul": [70], "Relu": [5, 5, 6, 4]}  # microseconds of each call of an operator
Network = Callable[[np.ndarray], np.ndarray]


@exercise
def parity(answer: object) -> str:
    """(ours, theirs, inputs), two networks and a list of images -> the largest absolute difference of a pixel."""
    inputs = [random(*shape, seed=seed).numpy() for seed, shape in enumerate([(12, 12), (9, 14), (12, 12)])]
    got = number(call(answer, np.copy, _off_by({(12, 12): 0.01, (9, 14): 0.25}), inputs))
    rule_out(got, {
        "only the first input was tried: another size may take another way through the graph.": 0.01,
        "the difference is signed: where theirs is larger than ours it counts, too. Take its absolute value.": 0.0,
        "this is a mean: one pixel that is far off vanishes in it. Take the largest.": 0.25 / 126,
        "this is a root mean square: one pixel that is far off vanishes in it. Take the largest.": 0.25 / 126**0.5,
        "this is a sum: take the largest difference of a pixel.": 0.27,
    })  # fmt: skip
    equal(got, 0.25, "in one pixel of the second image theirs is 0.25 above ours")
    broken = call(answer, np.copy, _off_by({(9, 14): np.nan}), inputs)
    if not (isinstance(broken, float | np.floating) and not np.isfinite(broken)):
        raise NotYet(
            f"of a network that gives NaN in one pixel it says {number(broken):.3g}: comparisons with NaN are false, so "
            "Python's max() may pass over it. np.max keeps NaN."
        )
    return (
        "the largest difference, over all sizes, and NaN is no agreement. kdrecon export asks for at most 1e-4 in fp32."
    )


@exercise
def dominant(answer: object) -> str:
    """A list of events of ONNX Runtime's profile -> (name, share) of the operator that takes the most time."""
    got = call(answer, _events())
    if isinstance(got, str):
        raise NotYet("there is a name alone: return its share of the time, too, (name, share).")
    if not (isinstance(got, tuple | list) and len(got) == 2 and isinstance(got[0], str)):
        raise NotYet(f"the function returns {kind(got)}: expected a name and a number, (name, share).")
    name, share = got[0], number(got[1])
    if name == "MatMul":
        raise NotYet("MatMul has the longest single call: add up the calls of each operator.")
    if name == "Relu":
        raise NotYet("Relu is called most often: add up the time, dur, not the calls.")
    if name != "Conv":
        raise NotYet(f"the name is {name[:40]!r}: expected the op_name of an operator.")
    total = sum(map(sum, CALLS.values()))
    rule_out(share, {
        "the share is in per cent: expected a number between 0 and 1.": 12000 / total,
        "this is a time: divide it by that of all operators.": 120.0,
        "the events of the whole session, cat 'Session', hold the operators already: count those of cat 'Node' alone.":
            120 / (total + 1000),
        "this is the share of the calls: add up their time, dur.": 3 / 8,
        "only one call was counted: add up all of this operator.": 41 / total,
    })  # fmt: skip
    equal(share, 120 / total, "the time of all Conv over the time of all operators")
    return "first measure which operator takes the time, then make that one faster."


def _off_by(steps: dict[tuple[int, int], float]) -> Network:
    """A network that returns its input, but for one pixel of images of some sizes."""

    def network(x: np.ndarray) -> np.ndarray:
        images = x.copy()
        images[3, 4] += steps.get(x.shape, 0)
        return images

    return network


def _events() -> list[dict]:
    """A profile as ONNX Runtime writes it."""
    node = lambda name, dur: {"cat": "Node", "name": f"{name}_kernel_time", "dur": dur, "args": {"op_name": name}}  # noqa: E731
    nodes = [node(name, dur) for name, times in CALLS.items() for dur in times]
    return [{"cat": "Session", "name": "model_run", "dur": 1000, "args": {}}, *nodes]
