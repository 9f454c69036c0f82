"""Numbers that lessons and README quote from the sample, the shipped networks and the papers, recomputed."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy import ndimage

from kdrecon import metrics
from kdrecon.data.splits import Split, load_split
from kdrecon.distillation import METHODS
from kdrecon.physics.fourier import fft2, ifft2
from kdrecon.physics.sampling import mirror, undersample
from kdrecon.results.power import people_needed, power, typical_spread
from kdrecon.results.published import published_figures
from kdrecon.results.statistics import subject_means
from kdrecon.results.studies import shipped_study
from kdrecon.runs.laboratory import Laboratory
from kdrecon.runs.shipped import ONE_DEEP_CNN
from kdrecon.storage.places import project_root


def text(name: str) -> str:
    """A lesson or README as one line, without the comment signs."""
    content = (project_root() / name).read_text(encoding="utf-8")
    return " ".join(content.replace("\n#", " ").split())


@pytest.fixture(scope="module")
def slices():
    return load_split(Split("sample", "test", "4x", 120))


@pytest.fixture(scope="module")
def people():
    return load_split(Split("people", "test", "4x", 120))


@pytest.fixture(scope="module")
def middle(slices):
    return slices.x[len(slices) // 2, 0], slices.task.mask


def test_filling_in_opposite_lines(people):
    mask, gains = people.task.mask, []
    phase = torch.exp(3j * torch.linspace(-1, 1, len(mask))[:, None] ** 2)
    for person in dict.fromkeys(people.subject):
        x = people.x[people.subject.index(person) + people.subject.count(person) // 2, 0]
        for image in (x + 0j, x * phase):
            y = fft2(image) * mask
            plain, filled = (ifft2(k).abs() for k in (y, torch.where(mask, y, mirror(y).conj())))
            gains.append(metrics.psnr(x, filled) - metrics.psnr(x, plain))
    assert len(gains) == 18
    assert [round(min(gains[::2]), 1), round(max(gains[::2]), 1)] == [1.8, 2.3]
    assert [round(min(gains[1::2]), 1), round(max(gains[1::2]), 1)] == [-2.1, -1.2]
    quoted = "gains 1.8 to 2.3 dB on the magnitude image and loses 1.2 to 2.1 dB with the phase"
    assert quoted in text("lessons/01_kspace_undersampling.py")


def test_what_notebook_00_says_that_the_course_finds():
    table = shipped_study("course").comparisons
    table = table[(table.metric == "psnr") & (table.against == "student")].set_index("network")
    small = table[table.reference == "student, network D2C5"]
    assert round(small.difference["teacher"], 2) == 0.79 and small.low["teacher"] > 0
    assert small.low["SFT teacher, student_network D2C5"] > 0
    students = ["Std-KD AT, network D2C5", "SFT-KD AT, network D2C5"]
    assert all(low < 0 < high for low, high in zip(small.low[students], small.high[students]))
    distilled = ["Std-KD AT", "Std-KD FitNets", "SFT-KD AT", "SFT-KD FitNets"]
    assert table.difference["control, epochs 350"] > table.difference[distilled].max()
    for name in ("lessons/00_start_here.py", "README.md"):
        assert "by 0.79 dB" in text(name)


def test_the_teacher_leads_on_whole_heads_and_hardly_without_skull():
    means = shipped_study("course").slices.groupby(["network", "subject"]).psnr.mean()
    lead = means["teacher"] - means["student, network D2C5"]
    stripped = lead.index.str.startswith("antspyx")
    assert lead[~stripped].between(1, 2.5).all() and lead[stripped].between(0, 0.5).all() and stripped.sum() == 6


def test_a_cascade_beats_one_deep_cnn_of_its_size(people, tmp_path):
    lab = Laboratory(run_root=str(tmp_path), device="cpu", ready=True)
    deep = lab.network(replace(lab.experiment("teacher"), architecture=ONE_DEEP_CNN))
    networks = [deep, lab.student(), lab.teacher()]
    middles = [people.subject.index(name) + people.subject.count(name) // 2 for name in dict.fromkeys(people.subject)]
    batch = people.batch(torch.tensor(middles))
    assert {network.origin for network in networks} == {"ready"}
    with torch.no_grad():
        images = [batch.x_u, *(network.model(*batch.inputs) for network in networks)]
    zero_filled, deep, small, cascade = (metrics.psnr(batch.x[:, 0].numpy(), image[:, 0].numpy()) for image in images)
    assert (cascade > small).mean() > 0.8 and (small > deep).all()
    share = (deep - zero_filled).mean() / (cascade - zero_filled).mean()
    assert share == pytest.approx(0.53, abs=0.01)
    assert "reaches half of the cascade's gain. Even the D2C5, with 3,045 weights, is better" in text(
        "lessons/02_dccnn.py"
    )


def test_the_ready_networks_score_what_the_readme_says(people, tmp_path):
    lab = Laboratory(run_root=str(tmp_path), device="cpu", ready=True)
    networks = [lab.teacher(), lab.sft_teacher(), lab.student()]
    networks += [lab.distilled("at", teacher, start) for teacher in ("standard", "sft") for start in ("random", "sft")]
    networks += [lab.control(networks[-1]), *(lab.distilled("fitnets", teacher) for teacher in ("standard", "sft"))]
    assert {network.origin for network in networks} == {"ready"}
    x = people.x[:, 0].numpy()
    with torch.no_grad():
        made = [network.model(*people.whole.inputs)[:, 0].numpy() for network in networks]
    found = [subject_means(metrics.psnr(x, image), people.subject).mean() for image in made]
    assert found == pytest.approx([30.22, 29.89, 29.50, 29.57, 29.14, 29.68, 29.13, 29.45, 29.26, 29.49], abs=0.006)
    told = " ".join(text("README.md").split())
    assert "teacher 30.22 dB, SFT teacher 29.89; plain student 29.50;" in told
    assert "29.57 from a random start and 29.14 from the SFT start, from the SFT teacher 29.68 and 29.13;" in told
    assert "FitNets 29.26 and 29.49; control 29.45" in told


def test_gains_of_the_papers_table_1():
    table = published_figures()
    table = table[(table.source == "gayathri2023, Table 1")]
    kinds = {
        name: rows.set_index(["dataset", "acceleration", "method"]).psnr for name, rows in table.groupby("teacher")
    }
    gains = kinds["sft"] - kinds["standard"]
    assert len(gains) == 20
    assert [gains.mean(), gains.min(), gains.max()] == pytest.approx([0.27, 0.05, 0.56], abs=0.005)
    alone = table[(table.model == "student") & (table.teacher == "")].set_index(["dataset", "acceleration"]).psnr
    assert sum(psnr < alone[key[:2]] for key, psnr in kinds["standard"].items()) == 5
    assert "0.27 dB on average, from 0.05 to 0.56 dB" in text("lessons/05_sft_kd.py")
    assert "below that of the plain student in 5 of 20 cells" in text("lessons/03_standard_kd.py")


def test_what_the_study_of_super_resolution_says():
    table = published_figures().query("source == 'gayathri2023, Table 9' and method != ''")
    pairs = table.pivot(index="method", columns="teacher", values="psnr")
    assert (pairs.sft - pairs.standard).mean() == pytest.approx(0.04, abs=0.0005)
    study = shipped_study("super_resolution")
    psnr = study.slices.groupby(["network", "seed", "subject"]).psnr.mean()
    gain = psnr["student, fidelity hermitian"] - psnr["student"]
    assert (round(gain.mean(), 2), len(gain)) == (0.62, 27) and gain.min() > 0
    compared = study.comparisons.query("metric == 'psnr' and (against == 'std-kd' or network == 'teacher')")
    assert len(compared) == 3 and set(compared.verdict) == {"not shown"}
    assert (compared.high - compared.low).round(1).tolist() == [0.8] * 3
    assert "intervals are 0.8 dB wide, Table 9's mean gain is 0.04 dB" in text("README.md")
    assert "V4 with the measured block at its end gains 0.62 dB" in text("README.md")


@pytest.mark.parametrize(
    "name, student, row", [("course", "D3C5", row) for row in ("AT | 0.40 | 0.39", "FitNets | 2.17 | 3.21")]
    + [("course", "D2C5", row) for row in ("AT | 0.075 | 0.091", "FitNets | 1.98 | 3.24", "FSP | 6.76 | 14.35")]
    + [("course", "D2C5", row) for row in ("SP | 0.45 | 0.63", "CC | 0.69 | 0.81")]
    + [("super_resolution", "V4", row) for row in ("AT | 0.022 | 0.145", "FT | 0.017 | 0.099")],
)  # fmt: skip
def test_how_hard_the_teacher_pulls(name, student, row):
    method, *quoted = row.split(" | ")
    found = shipped_study(name).summary.query(
        "network == @student and method == @method.lower() and epochs == 50 and weight_factor == 1 and train_slices == 0"
    )
    ratio = found.set_index(["teacher", "init"]).gradient_ratio
    digits = len(quoted[0].partition(".")[2])
    assert [f"{ratio[cell].mean():.{digits}f}" for cell in (("standard", "random"), ("sft", "sft"))] == quoted
    assert f"| {row} |" in text("docs/study.md")


def test_the_confidence_of_an_attentive_hint_is_negative_in_its_source_and_not_here(tmp_path):
    lab = Laboratory(run_root=str(tmp_path), device="cpu")
    batch, teacher = lab.train.whole, lab.teacher().model
    with torch.no_grad():
        errors = (teacher(*batch.inputs) - batch.x).square().mean((1, 2, 3))
    confidence = 1 - errors / (errors.max() - errors.min())
    assert [float(confidence.min()), float(confidence.max())] == pytest.approx([-0.75, 0.25], abs=0.01)
    assert (int((confidence < 0).sum()), len(confidence)) == (64, 93)
    hint = METHODS["ah"](cascades=5)
    hint.calibrate(errors)
    torch.testing.assert_close(hint.confidence(errors), confidence - confidence.min())
    assert "lie between -0.75 and 0.25 and are negative on 64 of its 93 training slices" in text("README.md")


def test_x_u_is_not_linear_in_the_image(middle):
    x, mask = middle
    x_u, y = undersample(x, mask)
    assert float((x_u - ifft2(y).real).norm() / ifft2(y).real.norm()) == pytest.approx(0.11, abs=0.005)


def test_what_notebook_08_says_of_the_study():
    study, lesson = shipped_study("course"), text("lessons/08_the_study.py")
    by = study.slices.groupby(["network", "subject"]).psnr
    over_slices, over_people = study.slices.groupby("network").psnr.mean(), by.mean().groupby("network").mean()
    gap = over_slices.teacher - over_slices.student, over_people.teacher - over_people.student
    assert gap == pytest.approx((0.77, 0.38), abs=0.005) and "is 0.8 dB over slices and 0.4 dB over people" in lesson
    counts = study.slices.drop_duplicates(["volume", "slice"]).subject.value_counts()
    assert (counts[:3].sum(), counts.sum()) == (34, 40) and "the three heads bring 34 of 40 slices" in lesson
    small = [means["SFT-KD AT, network D2C5"] - means["student, network D2C5"] for means in (over_slices, over_people)]
    assert small == pytest.approx([0.28, -0.20], abs=0.005)
    assert "SFT-KD gains 0.28 dB over slices and loses 0.20 dB over people" in lesson
    heads = by.mean().unstack()[["Colin27", "pyradiomics-brain1", "pyradiomics-brain2"]].mean(axis=1)
    several = [f"SFT-KD {method}, network D2C5" for method in ("FitNets", "AT", "FSP", "SP", "CC")]
    gained = heads[[*several, "control, network D2C5, epochs 100"]] - heads["student, network D2C5"]
    assert gained.between(0.28, 0.43).all() and "all five SFT-KD students gain 0.3 to 0.4 dB, but so" in lesson
    compared = study.comparisons[study.comparisons.metric == "psnr"]
    small = compared[
        (compared.against == "student") & compared.network.str.fullmatch("(Std|SFT)-KD [A-Za-z]+, network D2C5")
    ]
    assert len(small) == 10 and [small.difference.min(), small.difference.max()] == pytest.approx(
        [-0.20, 0.10], abs=0.005
    )
    assert "The ten gains lie between −0.20 and +0.10 dB" in lesson and (small.low < 0).all() and (small.high > 0).all()
    better = compared[(compared.against == "student") & (compared.verdict == "better")].network
    assert list(better) == ["teacher, epochs 200, train_slices 24", "SFT-KD AT, epochs 12, teacher_epochs 50"]
    assert "only with 24 training slices" in lesson and "one filled marker" in lesson
    assert not (compared.verdict == "worse").any() and not compared.equal.eq(True).any()
    hearts = shipped_study("sunnybrook").comparisons.query("metric == 'psnr' and against == 'student'")
    assert hearts.set_index("network").high.teacher < 0.205 and not (hearts.verdict == "better").any()


def test_what_notebook_03_quotes_of_the_study():
    study = shipped_study("course")
    people = study.slices.groupby(["network", "subject", "seed"]).psnr.mean().groupby(["network", "subject"]).mean()
    lead = people["teacher"] - people["student, network D2C5"]
    bare = lead.index.str.startswith("antspyx")
    assert [lead[~bare].mean(), lead[bare].mean()] == pytest.approx([1.94, 0.22], abs=0.01)
    quoted = text("lessons/03_standard_kd.py")
    assert "the D5C5 leads the D2C5 by 1.9 dB on whole heads, and by 0.2 dB on the others" in quoted
    table = study.comparisons[(study.comparisons.against == "student") & (study.comparisons.metric == "psnr")]
    louder = table[table.network.str.match(r"Std-KD AT, epochs 12, weight_factor")]
    assert len(louder) == 4 and not (louder.verdict != "not shown").any()
    assert [louder.difference.min(), louder.difference.max()] == pytest.approx([-0.14, 0.03], abs=0.005)
    assert "all between −0.14 and +0.03 dB beside the plain student, none shown to differ" in quoted


def test_what_notebook_06_says_of_lesions_power_and_the_papers_claim(people, tmp_path):
    lab = Laboratory(run_root=str(tmp_path), device="cpu", ready=True)
    networks = lab.teacher(), lab.student(), lab.sft_teacher(), lab.distilled("at"), lab.distilled("at", "sft")
    first = {person: people.subject.index(person) for person in people.subject}
    rows = [row + people.subject.count(person) // 2 for person, row in first.items()]
    x, mask, (down, across) = (
        people.x[rows],
        people.task.mask,
        torch.meshgrid(torch.arange(120), torch.arange(120), indexing="ij"),
    )
    disc = (down - 45) ** 2 + (across - 75) ** 2 <= 5
    kept, quality, spots = [], [], []
    for network in networks:
        with torch.no_grad():
            well, ill = (network.model(*undersample(image, mask), mask) for image in (x, x + 0.2 * disc))
        kept.append(float((ill - well)[..., disc].mean()) / 0.2)
        quality.append(metrics.psnr(x[:, 0].numpy(), well[:, 0].numpy()).mean())
        bright = [ndimage.uniform_filter(e, 5) > 0.05 for e in (well - x)[:, 0].numpy()]
        spots.append(np.mean([ndimage.label(each)[1] for each in bright]))
    assert kept[0] < kept[1] and quality[0] == max(quality) and all(1 < number < 2 for number in spots)
    lesson = text("lessons/06_evaluation.py")
    assert "leads by PSNR and keeps less of the lesion than its student" in lesson
    spread = typical_spread(shipped_study("course").comparisons)
    assert round(power(0.1, spread, 9, 3), 2) == 0.09 and "nine people and three seeds had a chance of 9 %" in lesson
    assert people_needed(0.1, spread, 3) is None and "No number of people makes up for few seeds" in lesson
