import numpy as np
import pytest
from test_comparisons import SFT_AT, SFT_TEACHER, STD_AT, TEACHER, ZERO_FILLED, write_network

from kdrecon import results
from kdrecon.distillation import METHODS
from kdrecon.results.display import formatted_published
from kdrecon.results.published import beside_published, published_figures
from kdrecon.results.report import write_results

PAPER = {"dataset": "cardiac", "epochs": 150, "batch_size": 4, "lr": 1e-3}
KD_MRI = PAPER | {"lr": 1e-4, "residual": True}


def cell(table, **values):
    found = table[(table[list(values)] == list(values.values())).all(axis=1)]
    assert len(found) == 1, found
    return found.iloc[0]


def test_the_published_tables():
    table = published_figures()
    assert len(table) == 4 * 14 + 13 + 5 + 5 + 2 * 3 + (6 + 3) * 4 + 15 + 4
    assert not table.duplicated(["source", "dataset", "acceleration", *CELL]).any()
    assert set(table.dataset) == {"cardiac", "mrbrain", "calgary", "hammernik"} and set(table.method) - {""} <= set(
        METHODS
    )
    figures = table[table.source != "gayathri2023, Table 3"]
    assert figures.psnr.between(22, 41).all() and figures.ssim.between(0.6, 1).all()
    distilled = table[(table.source == "gayathri2023, Table 1") & (table.method != "")]
    psnr = distilled.pivot(index=["dataset", "acceleration", "method"], columns="teacher", values="psnr")
    gain = psnr.sft - psnr.standard
    assert [gain.mean(), gain.min(), gain.max()] == pytest.approx([0.27, 0.05, 0.56], abs=0.005) and len(gain) == 20


def test_fine_detail_and_error_beside_psnr(tmp_path):
    table = published_figures()
    detail = cell(table, source="gayathri2023, Table 3", method="sp", teacher="sft")
    assert (detail.hfn, detail.vif) == (0.2915, 0.9170) and np.isnan(detail.psnr)
    init = cell(table, source="gayathri2023, Table 5", init="random", teacher="sft")
    assert (init.psnr, init.hfn, init.mse) == (39.99, 0.2882, 1.015e-4)
    write_network(tmp_path, **PAPER | STD_AT | {"dataset": "mrbrain", "resolution": 240})
    beside = beside_published(results.summary(tmp_path))
    here = cell(beside, source="gayathri2023, Table 3", method="at", teacher="standard")
    assert (here.published_vif, here.status) == (0.9103, "reproduced") and 0 < here.vif < 1
    assert "1.070e-04" in set(formatted_published(beside)["MSE published"])
    columns = ["HFN published", "HFN here", "MSE published", "VIF published", "PSNR here"]
    assert set(columns) <= set(formatted_published(beside)) and "" in set(formatted_published(beside)["PSNR published"])


def test_super_resolution_gains_less_than_a_tenth_of_its_spread_over_volumes():
    table = published_figures()
    paper = table[table.source == "gayathri2023, Table 9"]
    assert set(paper.network) == {"V12", "V4"} and (paper.teacher_network[paper.method != ""] == "V12").all()
    pairs = paper[paper.method != ""].pivot(index="method", columns="teacher", values=["psnr", "ssim"])
    gain = pairs.psnr.sft - pairs.psnr.standard
    assert [len(gain), gain.mean(), gain.min(), gain.max()] == pytest.approx([6, 0.04, 0.01, 0.06], abs=0.005)
    assert (pairs.ssim.sft < pairs.ssim.standard).to_dict()["cc"]  # against "consistently better"
    assert paper.psnr_spread.between(1.2, 1.5).all() and paper.ssim_spread.between(0.012, 0.015).all()
    others = table[~table.dataset.isin(["calgary", "hammernik"])]
    assert others[["psnr_spread", "ssim_spread"]].isna().all(axis=None)


def test_distilled_knees_lie_between_student_and_teacher_by_a_tenth_of_their_spread():
    table = published_figures()
    knees = table[table.dataset == "hammernik"].set_index(["acceleration", "model", "method"]).sort_index()
    gains = [knees.psnr[a, "student", "at"] - knees.psnr[a, "student", ""] for a in ("4x", "5x", "8x")]
    assert gains == pytest.approx([0.33, 0.34, 0.40]) and knees.psnr_spread.between(3.4, 3.9).all()
    for a in ("4x", "5x", "8x"):
        assert knees.psnr[a, "student", "at"] < knees.psnr[a, "teacher", ""] and len(knees.loc[a]) == 4
    assert set(knees.ssim_spread) == {0.03, 0.04, 0.05, 0.08}


def test_super_resolution_is_attempted_by_its_preset_alone(tmp_path):
    place = {"dataset": "calgary", "resolution": 256, "epochs": 150, "batch_size": 4, "lr": 1e-3}
    teacher = TEACHER | {"model": "V11"}
    distilled = STD_AT | {"model": "V7", "teacher_network": "V11", "schedule": "two_stage", "alpha": 0.5}
    for switches in ({"mask_type": "lowpass", "fidelity": "none"}, {"mask_type": "line"}):
        for settings in (teacher, distilled):
            write_network(tmp_path, **place | settings | switches)
    table = beside_published(results.summary(tmp_path))
    found = table[table.status != "not attempted"]
    assert found.network.tolist() == ["V11", "V7"] and set(found.status) == {"reproduced"}
    assert set(found.source) == {"murugesan2020, super-resolution"} and len(table) == 19


CELL = ["model", "network", "teacher", "method", "init", "teacher_network"]


def test_reproduced_attempted_and_not_attempted(tmp_path):
    write_network(tmp_path, **ZERO_FILLED | {"dataset": "cardiac"})
    for settings in (TEACHER, STD_AT, SFT_AT):
        write_network(tmp_path, **PAPER | settings)
    write_network(tmp_path, **PAPER | SFT_TEACHER | {"epochs": 14, "resolution": 120, "augment": "flips"})
    table = beside_published(results.summary(tmp_path))
    assert set(table.acceleration) == {"4x"} and set(table.dataset) == {"cardiac"} and len(table) == 14 + 4
    paper = table[table.source == "gayathri2023, Table 1"]
    assert cell(paper, model="zero_filled").status == "reproduced"
    sft = cell(paper, teacher="sft", method="at")
    assert (sft.published_psnr, sft.published_ssim, sft.status) == (32.03, 0.9070, "reproduced") and 20 < sft.psnr < 40
    departures = "120 pixels, not 150, epochs 14, not 150, augment flips, not none"
    assert cell(paper, model="sft_teacher").status == f"attempted: {departures}"
    assert cell(paper, model="student", method="").status == "not attempted"
    assert set(table[(table.source == "murugesan2020") & (table.model != "zero_filled")].status) == {"not attempted"}


def test_variants_of_the_method_are_not_taken_for_it(tmp_path):
    write_network(tmp_path, **PAPER | STD_AT | {"kd_form": "released", "schedule": "two_stage"})
    write_network(tmp_path, **KD_MRI | STD_AT | {"schedule": "two_stage", "alpha": 0.5})
    write_network(tmp_path, **KD_MRI | TEACHER)
    table = beside_published(results.summary(tmp_path))
    assert set(table[table.source == "gayathri2023, Table 1"].status) == {"not attempted"}
    kd_mri = table[table.source == "murugesan2020"]
    assert [cell(kd_mri, method="at").status, cell(kd_mri, model="teacher").status] == ["reproduced"] * 2


def test_a_heterogeneous_teacher_is_another_cell(tmp_path):
    brain = PAPER | {"dataset": "mrbrain", "resolution": 240}
    write_network(tmp_path, **brain | STD_AT | {"teacher_network": "DC-UNet"})
    table = beside_published(results.summary(tmp_path))
    assert table[table.status == "reproduced"].source.tolist() == ["gayathri2023, Table 6"]


def test_who_chose_the_epoch_makes_no_other_network(tmp_path):
    for selection in ("halves", "paper"):
        write_network(tmp_path, **PAPER, selection=selection)
    assert beside_published(results.summary(tmp_path)).status.tolist().count("reproduced") == 2


def test_nothing_is_put_beside_data_that_no_paper_reports(tmp_path):
    write_network(tmp_path, dataset="sample")
    assert beside_published(results.summary(tmp_path)).empty
    write_results(tmp_path)
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "No paper reports figures for sample 4x" in page and "cardiac 8x" in page


def test_the_report_shows_both(tmp_path):
    write_network(tmp_path, **PAPER)
    write_network(tmp_path, **PAPER | SFT_AT)
    write_results(tmp_path)
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "<td>32.03</td>" in page and "<td>reproduced</td>" in page and "<td>not attempted</td>" in page
