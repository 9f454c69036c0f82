"""What one knows before the first training: the checks of notebook 00.

>>> from kdrecon.teaching.checks.start_here import parameters
>>> parameters(1).right
False
"""

from kdrecon.errors import InputError, first_line
from kdrecon.runs.parameters import Parameters
from kdrecon.teaching.checks.verdict import NotYet, call, exercise, kind


@exercise
def parameters(answer: object) -> str:
    """A dict of parameters for 30 epochs and attention transfer alone."""
    if answer is None or answer == {}:
        raise NotYet("the dictionary is empty. Write the names from the parameters cell as keys.")
    if not isinstance(answer, dict):
        raise NotYet(f"the answer is {kind(answer)}: expected a dictionary of names and values.")
    if isinstance(answer.get("methods"), str):
        raise NotYet("methods is a text. It is a list even where it has one entry: write square brackets round it.")
    try:
        given = Parameters.from_mapping(answer)
    except InputError as error:
        raise NotYet(f"the run would be refused: {first_line(error)}.") from None
    if given.epochs != 30:
        raise NotYet(f"this run would train for {given.epochs} epochs: expected 30.")
    if given.methods != ["at"]:
        raise NotYet(f"this run would use the methods {given.methods}: expected attention transfer alone, key 'at'.")
    return "kdrecon run -p epochs=30 -p 'methods=[at]' says the same on the command line. All else keeps its default."


@exercise
def shared_subjects(answer: object) -> str:
    """(train, test), two lists of subjects, one entry a slice -> the set of subjects in both."""
    train, test = ["anna", "anna", "ben", "carl"], ["ben", "ben", "dora"]
    got = call(answer, train, test)
    if isinstance(got, bool):
        raise NotYet(
            "the function returns True or False: expected the set of subjects, so that one can look who it is."
        )
    if isinstance(got, int | float):
        raise NotYet("the function returns a number: expected the subjects themselves, as a set.")
    if not isinstance(got, set | frozenset | list | tuple):
        raise NotYet(f"the function returns {kind(got)}: expected a set of names.")
    if set(got) == set(train) | set(test):
        raise NotYet("these are all subjects (the union): expected only those in both splits (the intersection).")
    if set(got) == set(train) - set(test):
        raise NotYet("these are the subjects of the first split alone (a difference): expected those in both.")
    if set(got) != {"ben"} or call(answer, ["anna"], ["dora"]) not in (set(), [], ()):
        raise NotYet(f"for train {train} and test {test} the answer is {sorted(map(str, got))}: expected ben alone.")
    if not isinstance(got, set | frozenset):
        raise NotYet("the subjects are right, but in a list: return a set, in which nobody stands twice.")
    return "an empty set is what you want to see before you believe any test result."
