"""What one knows before the first training: the checks of notebook 00.

>>> from kdrecon.teaching.checks.start_here import parameters
>>> parameters(1).right
False
"""

from kdrecon.errors import InputError, first_line
from kdrecon.runs.parameters import Parameters
from kdrecon.teaching.checks.verdict import NotYet, call, equal, exercise, kind, number, rule_out


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


@exercise
def mean_over_people(answer: object) -> str:
    """(psnr, subjects), a number and a name per slice -> the mean in which every person weighs the same."""
    psnr, subjects = [30.0, 24.0, 32.0, 34.0, 20.0], ["anna", "ben", "anna", "anna", "carl"]
    got = number(call(answer, list(psnr), list(subjects)))
    rule_out(got, {
        "this is the mean over slices, in which anna weighs three times as much: take each person's mean first.": 28.0,
        "the means are added up, but not divided by the number of people.": 76.0,
        "this is the median of the people's means: expected their mean.": 24.0,
        "each person enters with the first slice alone: take the mean of all slices of a person.": 74 / 3,
        "each person enters with the last or the best slice alone: take the mean of all slices of a person.": 26.0,
        "anna's slices are not all neighbours, and count as two people: collect them by name.": 26.75,
        "slices are added up for each person: divide by how many a person has.": 140 / 3,
    })  # fmt: skip
    equal(got, 76 / 3, "the mean of each person's slices, then the mean of these")
    equal(number(call(answer, [1.0, 2.0, 6.0], ["x", "y", "y"])), 2.5, "it does not hold for other slices and people")
    return "comparisons of this course are such means: every person once, whole heads and single slices alike."
