"""What a study shows, and what it would take: the checks of notebook 08.

>>> from kdrecon.teaching.checks.the_study import reading
>>> reading(lambda low, high: "better" if low > 0 else "worse" if high < 0 else "not shown").right
True
"""

from kdrecon.teaching.checks.verdict import NotYet, call, equal, exercise, kind, number, rule_out

STARTS = {"Std-KD": "random", "SFT-KD": "sft"}  # of a distilled student whose name says nothing else


@exercise
def reading(answer: object) -> str:
    """(low, high), the ends of an interval of a difference in dB -> "better", "worse" or "not shown"."""
    cases = {(0.1, 0.5): "better", (-0.7, -0.2): "worse", (-0.1, 0.5): "not shown", (-0.5, 0.1): "not shown"}
    for (low, high), expected in cases.items():
        got = call(answer, low, high)
        if not isinstance(got, str) or got not in cases.values():
            found = repr(got) if isinstance(got, str) else kind(got)
            raise NotYet(f"the function returns {found:.40}: expected 'better', 'worse' or 'not shown'.")
        if got == expected:
            continue
        if expected == "not shown":
            middle = "better" if low + high > 0 else "worse"
            hint = "only its middle is looked at" if got == middle else "it is read the wrong way round"
            raise NotYet(f"{low} to {high} holds 0, so the interval shows nothing; {hint}.")
        raise NotYet(f"{low} to {high} lies on one side of 0: expected {expected!r}, not {got!r}.")
    return "where 0 lies inside, the data do not tell; that is not the same as 'no difference'."


@exercise
def half_width(answer: object) -> str:
    """(people_sd, people, training_sd, seeds) -> 2 sqrt(people_sd^2 / people + 2 training_sd^2 / seeds)."""
    s_d, n, s, seeds = 0.3, 10, 0.25, 5
    got = number(call(answer, s_d, n, s, seeds))
    people, trainings = s_d**2 / n, s**2 / seeds
    rule_out(got, {
        "this is the standard error: the interval reaches two of them to either side.": (people + 2 * trainings) ** 0.5,
        "this is the whole interval: half of it is asked for.": 4 * (people + 2 * trainings) ** 0.5,
        "both networks were trained: their trainings count twice, 2 s^2 / K.": 2 * (people + trainings) ** 0.5,
        "the trainings are left out: another seed would give another network.": 2 * people**0.5,
        "the people are left out: others would give another difference.": 2 * (2 * trainings) ** 0.5,
        "a spread enters as its square: s_d^2 / n + 2 s^2 / K.": 2 * (s_d / n + 2 * s / seeds) ** 0.5,
        "the root is missing: this is twice the variance.": 2 * (people + 2 * trainings),
        "errors that do not depend on each other add as squares: the root of the sum, not the sum of the roots.":
            2 * (people**0.5 + (2 * trainings) ** 0.5),
    })  # fmt: skip
    equal(got, 2 * (people + 2 * trainings) ** 0.5, "2 sqrt(s_d^2 / n + 2 s^2 / K)")
    return "what more seeds make small is the second term alone, and more people the first."


@exercise
def question(answer: object) -> str:
    """The names of two networks of the study that differ in one thing."""
    if answer is None or answer == ():
        raise NotYet("the pair is empty. Write two of the names above, the network and its reference.")
    if not isinstance(answer, tuple | list) or len(answer) != 2 or not all(isinstance(name, str) for name in answer):
        raise NotYet(f"the answer is {kind(answer)}: expected a pair of names.")
    ours, theirs = map(_settings, answer)
    names = [name for name in {**ours, **theirs} if ours.get(name) != theirs.get(name)]
    if not names:
        raise NotYet("both are the same network: change one thing.")
    if len(names) > 1:
        raise NotYet(f"{' and '.join(names)} differ: which of them made the difference? Change one alone.")
    return f"whatever comes out is due to {names[0]}, or to chance."


def _settings(name: str) -> dict[str, str]:
    """What the name of a network says of it, without the epochs that make up for fewer slices, so that steps are equal."""
    first, *others = name.split(", ")
    route, _, method = first.rpartition(" ")
    told = {"teacher": route, "method": method} if route.endswith("-KD") else {"network": first}
    if route in STARTS:
        told["first weights"] = STARTS[route]
    for key, _, value in (part.partition(" ") for part in others):
        told["first weights" if key == "init" else key] = value
    told.pop("teacher_epochs", None)
    if "train_slices" in told:
        told.pop("epochs", None)
    return told
