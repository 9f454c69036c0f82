"""One test a switch: what a run does differently when it is set."""

import functools

import h5py
import pandas as pd
import pytest
import torch
from helpers import slices
from torch.nn import functional as F

from kdrecon import results
from kdrecon.data import load_split
from kdrecon.distillation import FORMS, RELEASED
from kdrecon.errors import InputError
from kdrecon.models.dccnn import count_parameters, dc_cnn
from kdrecon.physics.fourier import fft2
from kdrecon.runs.laboratory import Laboratory
from kdrecon.runs.networks import weights_hash
from kdrecon.runs.record import read_record
from kdrecon.runs.switches import PRESETS, Switches
from kdrecon.training import processes
from kdrecon.training.loop import gradient_norms
from kdrecon.training.objectives import distil


@pytest.fixture(scope="module")
def make(tmp_path_factory):
    """A laboratory of a few small slices with the given switches; all share what the switches do not touch."""
    run_root = str(tmp_path_factory.mktemp("run"))

    @functools.cache
    def laboratory(preset="paper", **switches) -> Laboratory:
        lab = Laboratory(
            run_root=run_root, dataset="sample", lr_schedule="steps", augment="none", resolution=32, epochs=1,
            batch_size=4, ready=False, device="cpu",
            preset=preset, switches=switches,
        )  # fmt: skip
        lab.train, lab.validation = lab.train.subset(8), lab.validation.subset(4)
        return lab

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("kdrecon.runs.data.load_split", functools.cache(load_split))
        yield laboratory


def batch(lab):
    return next(lab.train.batches(4))


def objective_of(lab, experiment):
    return lab._objective(experiment, [lab.network(needed) for needed in experiment.needs()])


def untrained(lab, *network):
    """The objective of a network of the laboratory before its first step, prepared on a batch."""
    objective = objective_of(lab, lab.experiment(*network))
    objective.prepare(batch(lab))
    return objective


def test_fidelity(make):
    b = batch(make())
    for mode, exact in (("real", False), ("hermitian", True)):
        lab = make(fidelity=mode)
        sft = untrained(lab, "sft_teacher").network
        for model in (untrained(lab, "teacher").network, lab.new_student(), sft.teacher, sft.student):
            with torch.no_grad():
                measured = fft2(model(b.x_u, b.y, b.mask))[..., b.mask]
            assert torch.allclose(measured, b.y[..., b.mask], atol=1e-4) == exact
    assert make(fidelity="hermitian").student().folder.name.count("_fidelity-hermitian_") == 1


def test_residual(make):
    for value in (True, False):
        lab = make(residual=value)
        sft = untrained(lab, "sft_teacher").network
        for model in (untrained(lab, "teacher").network, lab.new_student(), sft.teacher, sft.student):
            for p in model.parameters():
                torch.nn.init.zeros_(p)
            x = batch(lab).x_u
            assert torch.equal(model.blocks[0](x)[0], x if value else torch.zeros_like(x))


def test_mask_type(make):
    line, gaussian = make(), make(mask_type="gaussian")
    for lab, lines in ((line, True), (gaussian, False)):
        assert all(torch.equal(s.task.mask, lab.mask) for s in (lab.train, lab.validation, lab.test))
        assert torch.equal(lab.mask, lab.mask[:, :1].expand_as(lab.mask)) == lines
        results.evaluate(lab, lab.zero_filled())
    assert line.zero_filled().folder != gaussian.zero_filled().folder
    assert abs(int(line.mask.sum()) - int(gaussian.mask.sum())) <= 32


def test_imitation(make):
    paper, released = (untrained(lab, "sft_teacher") for lab in (make(), make(imitation="released")))
    b = batch(make())
    expected = paper(b).terms["imitation"] / b.x.numel()
    torch.testing.assert_close(released(b).terms["imitation"], expected)
    torch.testing.assert_close(released(b).total, paper(b).terms["teacher"] + paper(b).terms["student"] + expected)


@pytest.mark.parametrize("term", ["student", "imitation"])
def test_sft_terms(make, term):
    b, full = batch(make()), untrained(make(), "sft_teacher")
    ablated = untrained(make(sft_terms=f"without_{term}"), "sft_teacher")
    terms = full(b).terms
    torch.testing.assert_close(ablated(b).total, sum(value for name, value in terms.items() if name != term))
    norms = gradient_norms(ablated, b)
    assert norms.pop(term) == 0 and min(norms.values()) > 0 and gradient_norms(full, b)[term] > 0


def test_student_init(make):
    starts = {"standard": "random", "sft": "sft"}
    for value in ("matched", "random", "sft"):
        lab = make(student_init=value)
        for teacher, matched in starts.items():
            network = lab.distilled("at", teacher)
            assert network.experiment.init == (matched if value == "matched" else value)
            start = objective_of(lab, network.experiment).network.blocks[1]
            source = lab.sft_teacher().student if network.experiment.init == "sft" else lab.new_student()
            assert all(torch.equal(a, b) for a, b in zip(start.parameters(), source.blocks[1].parameters()))


def test_a_student_that_was_trained_from_the_sft_blocks(make):
    """What the released scripts call studentSFTN: its first weights are those of the SFT blocks, S1 fresh; it is a start."""
    lab = make(student_init="sft_trained")
    between = lab.named("sft-student")
    start = objective_of(lab, between.experiment).network.blocks
    for number, source in enumerate((lab.new_student(), *[lab.sft_teacher().student] * 4)):
        for ours, theirs in zip(start[number].parameters(), source.blocks[number].parameters(), strict=True):
            assert torch.equal(ours, theirs)
    for teacher in ("standard", "sft"):
        network = lab.distilled("at", teacher)
        assert network.experiment.needs()[-1] == between.experiment
        assert weights_hash(objective_of(lab, network.experiment).network) == weights_hash(between.model)
        assert lab.student_steps(network) == 3 * lab.student_steps(lab.student())


def test_the_weight_of_a_distillation_is_multiplied(make):
    once, thrice = (untrained(make(weight_factor=factor), "student", "standard", "at") for factor in (1, 3))
    ours, theirs = (o(batch(make())).terms for o in (once, thrice))
    torch.testing.assert_close(theirs["distillation"], 3 * ours["distillation"])
    assert torch.equal(ours["reconstruction"], theirs["reconstruction"])
    assert make(weight_factor=3).distilled("at").folder != make().distilled("at").folder


def test_teachers_may_train_longer_than_their_students(make):
    lab = make(teacher_epochs=2)
    student = lab.distilled("at", "sft")
    above = (lab.teacher(), lab.sft_teacher())
    assert [len(network.history) for network in (*above, student, lab.student())] == [2, 2, 1, 1]
    assert student.experiment.needs() == (lab.experiment("sft_teacher"),) and above[0].experiment.epochs == 2
    assert lab.student_steps(student) == 3 * lab.student_steps(lab.student())


def test_fewer_training_slices(make):
    few, many = make(train_slices=2), make()
    assert len(few.train) == 2 and len(few.test) == len(many.test)
    assert few.teacher().folder != many.teacher().folder and few.zero_filled().folder == many.zero_filled().folder
    with pytest.raises(InputError, match="train_slices = 999: expected at most 48, the training slices of 'sample'"):
        make(train_slices=999)


def test_kd_form(make):
    lab = make(kd_form="released")
    objective = untrained(lab, "student", "standard", "at")
    assert type(objective.method) is RELEASED["at"] and lab.distilled("at").experiment.switches.kd_form == "released"
    b, (teacher, student) = batch(lab), (lab.teacher().model, objective.network)
    energies = []
    for model, conv in ((teacher, 2), (student, 1)):
        maps = model(b.x_u, b.y, b.mask, taps=[conv])[1]
        energies.append([F.normalize(cascade[conv].after.square().sum(1), dim=0) for cascade in maps])
    by_hand = torch.stack([(s - t).abs().mean() for t, s in zip(*energies)]).mean()
    term = objective(b).terms["distillation"] / objective.method.weight
    torch.testing.assert_close(term, by_hand)
    paper = untrained(make(), "student", "standard", "at")
    assert not torch.isclose(paper(b).terms["distillation"] / paper.method.weight, by_hand, rtol=0.05)


def test_schedule(make):
    joint, staged = make().distilled("at"), make(schedule="two_stage").distilled("at")
    features = staged.folder / "features"
    assert not (joint.folder / "features").exists()
    losses = {"reconstruction", "distillation", "imitation"}
    for history, terms in (
        (joint.history, {"reconstruction", "distillation"}),
        (pd.read_csv(features / "log.csv"), {"distillation"}),
        (staged.history, {"reconstruction"}),
    ):
        assert losses & set(history) == terms and len(history) == 1
    assert weights_hash(staged.model) != weights_hash(joint.model)


def test_the_second_stage_goes_on_from_the_last_weights_of_the_first(make, monkeypatch):
    lab, before, after = make(schedule="two_stage"), {}, {}
    lab.teacher()
    fit = processes.fit

    def watched(objective, *arguments):
        before[objective.stage] = weights_hash(objective.network)
        history = fit(objective, *arguments)
        after[objective.stage] = weights_hash(objective.network)
        return history

    monkeypatch.setattr(processes, "fit", watched)
    lab.distilled("fsp")
    assert list(after) == ["features", "reconstruction"]
    assert before["reconstruction"] == after["features"] != before["features"]


def test_alpha(make):
    lab, b = make(alpha=0.25), batch(make())
    objective, plain = untrained(lab, "student", "standard", "at"), untrained(make(), "student", "standard", "at")
    x_teacher, x_student = (model(b.x_u, b.y, b.mask) for model in (lab.teacher().model, objective.network))
    terms = objective(b).terms
    torch.testing.assert_close(terms["imitation"], 0.25 * (x_teacher - x_student).abs().mean())
    torch.testing.assert_close(terms["reconstruction"], 0.75 * (b.x - x_student).abs().mean())
    torch.testing.assert_close(terms["distillation"], plain(b).terms["distillation"])
    assert "imitation" not in plain(b).terms
    assert set(gradient_norms(objective, b)) == {"reconstruction", "imitation", "distillation"}


def test_imitation_alone(make):
    lab, b = make(alpha=0.5, weight_factor=0), batch(make())
    objective = untrained(lab, "student", "standard", "at")
    x_student = objective.network(b.x_u, b.y, b.mask)
    by_hand = sum((x - x_student).abs().mean() for x in (b.x, lab.teacher().model(b.x_u, b.y, b.mask))) / 2
    torch.testing.assert_close(objective(b).total, by_hand)
    assert gradient_norms(objective, b)["distillation"] == 0
    history = lab.distilled("at").history
    assert (history.distillation == 0).all() and history.total.notna().all()


@pytest.mark.parametrize("teacher, alpha", [("standard", 0.0), ("sft", 0.25)])
def test_the_method_image_is_imitation_alone(make, teacher, alpha):
    lab, b = make(alpha=alpha, weight_factor=3, schedule="two_stage", kd_form="released"), batch(make())
    network, half = lab.distilled("image", teacher), alpha or 0.5
    known = network.experiment.switches
    assert known == Switches(alpha=half) and network.experiment.stages == ("joint",)
    assert network.folder.name.startswith(f"D3C5_{'sft' * (teacher == 'sft')}kd-image_")
    objective = untrained(lab, "student", teacher, "image")
    x_teacher, x_student = (model(*b.inputs) for model in (objective.teacher, objective.network))
    parts = {"reconstruction": (1 - half) * (b.x - x_student).abs().mean()}
    parts["imitation"] = half * (x_teacher - x_student).abs().mean()
    torch.testing.assert_close(objective(b).terms, parts)
    assert "distillation" not in network.history and network.history.imitation.notna().all()
    assert read_record(network.folder).config["weight"] == 0


@pytest.mark.parametrize("name", ["DC-UNet", "D4C5"])
def test_teacher_network(make, name):
    lab = make(teacher_network=name)
    networks = {"teacher": lab.teacher(), "sft": lab.sft_teacher()}
    networks |= {"kd": lab.distilled("fsp"), "sftkd": lab.distilled("at", "sft")}
    assert [n.model.name for n in networks.values()] == [name, name, "D3C5", "D3C5"]
    assert networks["sft"].student.name == "D3C5"
    for kind in ("kd", "sftkd"):
        assert f"_teacher_network-{name}_" in networks[kind].folder.name
        assert objective_of(lab, networks[kind].experiment).teacher.name == name
    assert networks["teacher"].folder.name.startswith(f"{name}_teacher_")


@pytest.mark.parametrize("preset", ["super_resolution", "super_resolution_kd_mri"])
def test_super_resolution(make, preset):
    lab = make(preset, teacher_network="V4", student_network="V3")
    assert lab.mask.sum() == 8**2
    networks = {"teacher": lab.teacher(), "student": lab.student(), "sft": lab.sft_teacher()}
    networks |= {"kd": lab.distilled("at"), "sftkd": lab.distilled("fitnets", "sft")}
    assert [n.model.name for n in networks.values()] == ["V4", "V3", "V4", "V3", "V3"]
    b = batch(lab)
    for network in networks.values():
        assert torch.equal(network.model(b.x_u, b.y, b.mask), network.model(b.x_u, 0 * b.y, b.mask))
        assert results.evaluate(lab, network).psnr.notna().all()
    branches, started = networks["sft"].student, objective_of(lab, networks["sftkd"].experiment).network
    copied = [torch.equal(a.weight, b.weight) for a, b in zip(started.convs, branches.convs)]
    assert copied == [False, True, True]  # S1 is fresh


@pytest.mark.parametrize("form", FORMS)
def test_every_method_distils_between_vdsr(form):
    b = slices(4, 15).batch(torch.arange(4))
    for key, method in FORMS[form].items():
        if method.min_cascades > 1:
            continue
        torch.manual_seed(0)
        student, teacher = dc_cnn("V3", "none"), dc_cnn("V4", "none")
        objective = distil(student, teacher, key, kd_form=form)
        objective.prepare(b)
        loss = objective(b)
        loss.total.backward()
        assert loss.total.isfinite() and loss.terms["distillation"] != 0
        assert any(p.grad.abs().sum() > 0 for p in student.convs[0].parameters())


@pytest.mark.parametrize("name", ["DC-UNet", "DC-UNet-author"])
@pytest.mark.parametrize("form", FORMS)
def test_every_method_distils_from_a_unet(form, name):
    s = slices(4, 15)
    b = s.batch(torch.arange(4))
    for key in FORMS[form]:
        torch.manual_seed(0)
        objective = distil(dc_cnn("D3C5"), dc_cnn(name), key, kd_form=form)
        objective.prepare(b, [b])
        loss = objective(b)
        loss.total.backward()
        gradient = torch.cat([p.grad.flatten() for p in objective.network.parameters() if p.grad is not None])
        assert torch.isfinite(loss.total) and gradient.isfinite().all() and gradient.norm() > 0, key


@pytest.mark.parametrize("name", ["D4C5", "D2C5"])
def test_student_network(make, name):
    lab = make(student_network=name)
    student, sft, distilled = lab.student(), lab.sft_teacher(), lab.distilled("at", "sft")
    assert {student.model.name, sft.student.name, distilled.model.name, lab.new_student().name} == {name}
    assert sft.model.name == "D5C5" and f"_student_network-{name}_" in sft.folder.name
    assert lab.teacher().folder == make().teacher().folder


@pytest.mark.parametrize(
    ("preset", "switches"),
    [
        ("paper", Switches()),
        ("course", Switches(student_network="D2C5", residual=True)),
        ("as_released", Switches(imitation="released", kd_form="released", schedule="two_stage")),
        ("kd_mri", Switches(residual=True, schedule="two_stage", alpha=0.5)),
        ("super_resolution", Switches("V12", "V4", "none", mask_type="lowpass")),
        (
            "super_resolution_kd_mri",
            Switches("V11", "V7", "none", mask_type="lowpass", schedule="two_stage", alpha=0.5),
        ),
    ],
)
def test_presets(preset, switches):
    assert Switches.of(preset) == switches and len(PRESETS) == 6


def test_every_network_of_a_preset_trains_and_stands_in_the_summary(make):
    lab = make("kd_mri", fidelity="hermitian", student_network="D2C5")
    for network in (lab.teacher(), lab.distilled("at"), lab.distilled("at", "sft")):
        results.evaluate(lab, network)
    table = results.summary(lab.parameters.run_folder)
    students = table[(table.method == "at") & (table.network == "D2C5") & (table.fidelity == "hermitian")]
    assert students.teacher.tolist() == ["standard", "sft"]
    assert (students.alpha == 0.5).all() and students.residual.all() and (students.schedule == "two_stage").all()
    teacher = table[(table.model == "teacher") & (table.fidelity == "hermitian")]
    assert (teacher.alpha == 0).all() and (teacher.schedule == "joint").all() and len(teacher) == 1


def test_the_control_takes_as_many_steps_as_the_distilled_student(make):
    lab = make()
    sft_kd, std_kd = lab.distilled("at", "sft"), lab.distilled("at")
    assert lab.student_steps(lab.student()) == lab.student_steps(std_kd) == 2
    assert lab.student_steps(sft_kd) == lab.student_steps(lab.distilled("at", "standard", "sft")) == 4
    assert lab.student_steps(lab.distilled("at", "sft", "random")) == 2
    control = lab.control(sft_kd)
    assert control.experiment.epochs == len(control.history) == 2
    assert control.folder.name.startswith("D3C5_control_") and lab.student_steps(control) == 4
    assert set(control.history) & {"reconstruction", "distillation"} == {"reconstruction"}
    staged = make(schedule="two_stage")
    assert staged.student_steps(staged.distilled("at", "sft")) == 6
    assert count_parameters(control.model) == count_parameters(lab.student().model)


def test_the_gradient_ratio_of_a_distilled_student_stands_in_record_and_summary(make):
    lab = make()
    network = lab.distilled("at")
    results.evaluate(lab, network)
    norms = gradient_norms(untrained(lab, "student", "standard", "at"), lab.train.batch(torch.tensor([0])))
    table = results.summary(lab.parameters.run_folder).set_index(["model", "teacher", "method", "kd_form", "schedule"])
    ratio = table.loc[[("student", "standard", "at", "paper", "joint")]].gradient_ratio.iloc[0]
    record = read_record(network.folder).gradient_norms
    assert record.keys() == norms.keys() == {"reconstruction", "distillation"}
    assert ratio == record["distillation"] / record["reconstruction"] > 0


def people_without_test_split(root, count):
    """A data set of two people to train with and so many to validate with, two slices each."""
    for split, number in (("train", 2), ("validation", count)):
        (root / "own" / split).mkdir(parents=True)
        for k in range(number):
            with h5py.File(root / "own" / split / f"{k}.h5", "w") as file:
                file["volfs"] = slices(2, 32, seed=10 * k + number).x[:, 0].permute(1, 2, 0).numpy()
                file.attrs["subject"] = f"{split} {k}"


@pytest.mark.parametrize("limit", [None, 0])
def test_selection(tmp_path, limit):
    """Who chooses the best epoch does not report it, unless that is asked for; in memory and streamed from files."""
    people_without_test_split(tmp_path, 5)

    def lab(**switches):
        return Laboratory(
            dataset="own", preset="paper", data_root=str(tmp_path), resolution=0,
            epochs=1, batch_size=4, ready=False, device="cpu",
            run_root=str(tmp_path / "run"), switches=switches, memory_limit=limit,
        )  # fmt: skip

    honest, paper = lab(), lab(selection="paper")
    chosen, reported = ([*dict.fromkeys(s.subject)] for s in (honest.validation, honest.test))
    assert chosen == ["validation 1", "validation 3"] and reported == [f"validation {k}" for k in (0, 2, 4)]
    assert paper.validation is paper.test and len(paper.test) == 10 and honest.evaluation_split == "validation"
    for part in (honest.validation, honest.test):
        rows = [i for i, subject in enumerate(paper.test.subject) if subject in part.subject]
        assert torch.equal(part.whole.y, paper.test.batch(torch.tensor(rows)).y)
    assert len({s.fingerprint for s in (honest.validation, honest.test, paper.test)}) == 3
    teachers = [one.teacher() for one in (honest, paper)]
    assert "selection" not in teachers[0].folder.name and teachers[1].folder.name.count("_selection-paper_") == 1
    tables = [results.evaluate(one, teacher) for one, teacher in zip((honest, paper), teachers)]
    assert [len(table) for table in tables] == [6, 10]


def test_one_validation_person_cannot_be_halved(tmp_path):
    people_without_test_split(tmp_path, 1)
    lab = Laboratory(
        dataset="own",
        preset="paper",
        data_root=str(tmp_path),
        resolution=0,
        device="cpu",
        run_root=str(tmp_path / "run"),
    )
    assert lab.validation is lab.test and len(lab.test) == 2
