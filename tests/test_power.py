"""How many people and seeds a claim takes."""

import numpy as np
import pandas as pd
import pytest
from test_comparisons import SFT_TEACHER, STD_AT, TEACHER, write_network, write_run

from kdrecon.app import cli
from kdrecon.errors import InputError
from kdrecon.results.comparisons import comparisons
from kdrecon.results.names import PLACE
from kdrecon.results.power import TypicalSpread, people_needed, power, power_table, simulated_power, typical_spread

SPREAD = TypicalSpread(0.1, 0.1, 0.05)


@pytest.mark.parametrize("effect, n, seeds", [(0.2, 6, 2), (0.2, 10, 3), (0.2, 15, 5), (0.1, 9, 3), (0.3, 9, 2)])
@pytest.mark.parametrize("comparisons, networks", [(1, 2), (5, 10)])
def test_the_power_is_that_of_simulated_studies(effect, n, seeds, comparisons, networks):
    spread = SPREAD._replace(networks=networks)
    found = simulated_power(effect, spread, n, seeds, comparisons, studies=400)
    assert power(effect, spread, n, seeds, comparisons) == pytest.approx(found, abs=0.1)


def test_more_of_anything_shows_more():
    powers = [power(0.1, SPREAD, n, 3) for n in (6, 12, 50)], [power(0.1, SPREAD, 9, k) for k in (2, 4, 9)]
    powers += ([power(effect, SPREAD, 9, 3) for effect in (0.05, 0.1, 0.4)],)
    powers += ([power(0.2, SPREAD._replace(networks=networks), 9, 2) for networks in (2, 5, 33)],)
    assert all(found == sorted(found) and found[0] < found[-1] for found in powers)
    assert power(0.1, SPREAD, 9, 3, comparisons=5) < power(0.1, SPREAD, 9, 3)
    assert power(0.1, TypicalSpread(0, 0, 0), 6, 2) == 1
    assert power(9.0, TypicalSpread(0.0, 0.0, 0.01), 15, 10) == 1  # nor is a sure thing NaN


def test_the_fewest_people_that_are_enough():
    needed = people_needed(0.15, SPREAD, 5)
    assert power(0.15, SPREAD, needed, 5) >= 0.8 > power(0.15, SPREAD, needed - 1, 5) and needed > 6
    assert people_needed(0.05, SPREAD, 2) is None  # however many people: two seeds are too few
    table = power_table(0.05, SPREAD, [9], [2])
    assert table.to_dict("records")[0]["people for 80%"] == "over 1000"


@pytest.mark.parametrize(
    "effect, people, seeds, networks",
    [(0, [9], [3], 2), (np.nan, [9], [3], 2), (0.1, [5], [3], 2), (0.1, [9], [1], 2), (0.1, [9], [3], 1)],
)
def test_what_cannot_be_asked_is_refused(effect, people, seeds, networks):
    with pytest.raises(InputError, match="expected"):
        power_table(effect, SPREAD._replace(networks=networks), people, seeds)


def test_the_command_takes_the_spread_of_a_run_or_of_its_options(tmp_path, monkeypatch, capsys):
    def call(*arguments):
        monkeypatch.setattr("sys.argv", ["kdrecon", "power", *map(str, arguments)])
        with pytest.raises(SystemExit) as caught:
            cli.main()
        return caught.value.code, *capsys.readouterr()

    write_run(tmp_path, networks={"student": {}, "Std": STD_AT, "teacher": TEACHER})
    write_network(tmp_path, seed=0, **SFT_TEACHER)
    code, printed, _ = call(tmp_path, "--effect", 0.02, "--people", 9, "--seeds", 3)
    assert code == 0 and "standard deviations of a difference: people 0." in printed and "9 people" in printed
    assert "known from 3 networks\n" in printed
    wanted = power_table(0.02, typical_spread(comparisons(tmp_path)), [9], [3])
    assert (
        printed.endswith(wanted.to_string(index=False) + "\n") and typical_spread(comparisons(tmp_path)).networks == 3
    )
    assert "known from 12 networks" in call(tmp_path, "--networks", 12)[1]
    code, printed, _ = call("--sd-people", 0.1, "--sd-seeds", 0.1, "--sd-interaction", 0.05, "--studies", 50)
    assert code == 0 and len(printed.splitlines()) > 3 and "(" in printed
    code, _, told = call()
    assert code == 2 and told.startswith("error: no spread: expected the folder of a run, or --sd-people")
    one = tmp_path / "one"
    write_run(one, seeds=(0,), networks={"student": {}, "Std": STD_AT})
    code, _, told = call(one)
    assert code == 2 and "no comparison of the run has two people and two seeds" in told


def test_the_typical_spread_is_the_median_of_psnr():
    row = dict.fromkeys(PLACE, "") | {"metric": "psnr", "reference": "student", "sd_interaction": 0.0}
    rows = [row | {"network": f"of {sd}", "sd_people": sd, "sd_seeds": 2 * sd} for sd in (1.0, 2.0, 9.0)]
    rows += [rows[0] | {"metric": "ssim", "sd_people": 100.0}, rows[0] | {"sd_seeds": np.nan, "network": "one seed"}]
    assert typical_spread(pd.DataFrame(rows)) == (2, 4, 0, 4)
    elsewhere = pd.DataFrame(rows).assign(dataset="another")  # whose networks are not pooled with these
    assert typical_spread(pd.concat([pd.DataFrame(rows), elsewhere])) == (2, 4, 0, 4)
