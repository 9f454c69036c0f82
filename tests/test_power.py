"""How many people and seeds a claim takes."""

import numpy as np
import pandas as pd
import pytest
from test_comparisons import STD_AT, write_run

from kdrecon.app import cli
from kdrecon.errors import InputError
from kdrecon.results.power import people_needed, power, power_table, simulated_power, typical_spread
from kdrecon.results.statistics import Components

SPREAD = Components(0.1, 0.1, 0.05)


@pytest.mark.parametrize("effect, n, seeds", [(0.2, 6, 2), (0.2, 10, 3), (0.2, 15, 5), (0.1, 9, 3), (0.3, 9, 2)])
@pytest.mark.parametrize("comparisons, networks", [(1, 2), (5, 10)])
def test_the_power_is_that_of_simulated_studies(effect, n, seeds, comparisons, networks):
    found = simulated_power(effect, SPREAD, n, seeds, comparisons, networks, studies=400)
    assert power(effect, SPREAD, n, seeds, comparisons, networks) == pytest.approx(found, abs=0.1)


def test_more_of_anything_shows_more():
    powers = [power(0.1, SPREAD, n, 3) for n in (6, 12, 50)], [power(0.1, SPREAD, 9, k) for k in (2, 4, 9)]
    powers += ([power(effect, SPREAD, 9, 3) for effect in (0.05, 0.1, 0.4)],)
    assert all(found == sorted(found) and found[0] < found[-1] for found in powers)
    assert power(0.1, SPREAD, 9, 3, comparisons=5) < power(0.1, SPREAD, 9, 3)
    assert power(0.1, Components(0, 0, 0), 6, 2) == 1
    assert power(9.0, Components(0.0, 0.0, 0.01), 15, 10) == 1  # nor is a sure thing NaN


def test_the_fewest_people_that_are_enough():
    needed = people_needed(0.15, SPREAD, 5)
    assert power(0.15, SPREAD, needed, 5) >= 0.8 > power(0.15, SPREAD, needed - 1, 5) and needed > 6
    assert people_needed(0.05, SPREAD, 2) is None  # however many people: two seeds are too few
    table = power_table(0.05, SPREAD, [9], [2])
    assert table.to_dict("records")[0]["people for 80%"] == "over 1000"


@pytest.mark.parametrize("effect, people, seeds", [(0, [9], [3]), (np.nan, [9], [3]), (0.1, [5], [3]), (0.1, [9], [1])])
def test_what_cannot_be_asked_is_refused(effect, people, seeds):
    with pytest.raises(InputError, match="expected"):
        power_table(effect, SPREAD, people, seeds)


def test_the_command_takes_the_spread_of_a_run_or_of_its_options(tmp_path, monkeypatch, capsys):
    def call(*arguments):
        monkeypatch.setattr("sys.argv", ["kdrecon", "power", *map(str, arguments)])
        with pytest.raises(SystemExit) as caught:
            cli.main()
        return caught.value.code, *capsys.readouterr()

    write_run(tmp_path, networks={"student": {}, "Std": STD_AT})
    code, printed, _ = call(tmp_path, "--effect", 0.02, "--people", 9, "--seeds", 3)
    assert code == 0 and "standard deviations of a difference: people 0." in printed and "9 people" in printed
    code, printed, _ = call("--sd-people", 0.1, "--sd-seeds", 0.1, "--sd-interaction", 0.05, "--studies", 50)
    assert code == 0 and len(printed.splitlines()) > 3 and "(" in printed
    code, _, told = call()
    assert code == 2 and told.startswith("error: no spread: expected the folder of a run, or --sd-people")
    one = tmp_path / "one"
    write_run(one, seeds=(0,), networks={"student": {}, "Std": STD_AT})
    code, _, told = call(one)
    assert code == 2 and "no comparison of the run has two people and two seeds" in told


def test_the_typical_spread_is_the_median_of_psnr():
    rows = [{"metric": "psnr", "sd_people": sd, "sd_seeds": 2 * sd, "sd_interaction": 0.0} for sd in (1.0, 2.0, 9.0)]
    rows += [rows[0] | {"metric": "ssim", "sd_people": 100.0}, rows[0] | {"sd_seeds": np.nan, "sd_people": 100.0}]
    assert typical_spread(pd.DataFrame(rows)) == (2, 4, 0)
