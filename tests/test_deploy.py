"""A network as an ONNX file: the graph, parity with PyTorch, what it says of itself, and files that are none."""

import importlib.util
import json
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from helpers import one_line
from onnx import TensorProto, helper, numpy_helper
from typer.testing import CliRunner

from kdrecon.app.cli import app
from kdrecon.choices import FIDELITIES, TOLERANCES
from kdrecon.deploy import Deployed, bench, build_graph, export, open_deployed, quantised, read_exported
from kdrecon.deploy.benchmark import _peak, peak
from kdrecon.deploy.exported import Exported
from kdrecon.deploy.exporting import in_memory, metadata, say
from kdrecon.deploy.training_data import TrainingData
from kdrecon.errors import InputError
from kdrecon.models.dccnn import DCCNN, dc_cnn
from kdrecon.physics.fidelity import DataFidelity
from kdrecon.physics.sampling import gaussian_mask, line_mask, undersample
from kdrecon.runs.experiment import Experiment
from kdrecon.runs.switches import Switches
from kdrecon.storage.places import SHIPPED

STUDENT = Experiment("mine", "4x", 120, 14, 3, 3e-3, 0, "D3C5", "student")
MASKS = {
    "rows": line_mask((31, 26), "4x"),
    "columns": line_mask((31, 26), "4x", axis=1),
    "points": gaussian_mask((31, 26), "4x"),
}


def measured(mask: torch.Tensor, seed: int = 0) -> tuple[torch.Tensor, ...]:
    x = torch.rand(2, 1, *mask.shape, generator=torch.Generator().manual_seed(seed))
    return *undersample(x, mask), mask


@pytest.fixture(scope="module")
def student():
    return open_deployed("D2C5_student")


@pytest.fixture(scope="module")
def exported(student, tmp_path_factory):
    path = tmp_path_factory.mktemp("exported") / "student.onnx"
    export(student, path)
    return path


def started(network: DCCNN, form: str, fidelity: str, half: bool = False) -> Exported:
    """A network in ONNX Runtime, as if trained with the mask of that form."""
    model = build_graph(network, form, half)
    onnx.checker.check_model(model, full_check=True)
    experiment = replace(STUDENT, resolution="31x26", switches=Switches(fidelity=fidelity))
    data = TrainingData(experiment, MASKS[form])
    say(model, metadata(Deployed(Path("net.pt"), network, data), network, "fp32"))
    return Exported(model, threads=1)


@pytest.mark.parametrize("half", [False, True], ids=["fp32", "fp16"])
@pytest.mark.parametrize("fidelity", FIDELITIES)
@pytest.mark.parametrize("form", MASKS)
@pytest.mark.parametrize("architecture, residual", [("D2C2", False), ("D3C2", True), ("DC-UNet", True), ("V3", True)])
def test_a_graph_computes_what_the_network_does(architecture, residual, form, fidelity, half):
    torch.manual_seed(0)
    network = dc_cnn(architecture, fidelity, residual).eval()
    inputs = measured(MASKS[form])
    with torch.no_grad():
        expected = network(*inputs)
    found = started(network, form, fidelity, half)(*inputs)
    torch.testing.assert_close(found, expected, rtol=0, atol=2e-3 if half else 1e-5)


def test_the_graph_of_a_line_mask_is_clean_and_its_image_size_free():
    network = dc_cnn("D3C2").eval()
    model = build_graph(network, "rows")
    assert {node.op_type for node in model.graph.node} == {"Conv", "Relu", "MatMul", "Sub", "Add"}
    running = started(network, "rows", "real")
    for shape in ((16, 12), (9, 30)):
        inputs = measured(line_mask(shape, "2x"))
        with torch.no_grad():
            torch.testing.assert_close(running(*inputs), network(*inputs), rtol=0, atol=1e-5)


def test_a_block_without_a_graph_is_named():
    class Wavelets(torch.nn.Module):
        pass

    with pytest.raises(
        InputError, match="block Wavelets of mine has no ONNX graph: expected one of CNNBlock, VDSRBlock, UNetBlock"
    ):
        build_graph(DCCNN("mine", [Wavelets()], DataFidelity()), "rows")


@pytest.mark.parametrize("precision", TOLERANCES)
def test_an_export_is_held_to_pytorch_and_tells_what_it_is(precision, student, tmp_path):
    found = export(student, tmp_path / "a.onnx", precision)
    assert 0 < found.error <= TOLERANCES[precision]
    assert abs(found.loss) < {"fp32": 0.001, "fp16": 0.01, "int8": 0.5}[precision]
    assert found.bytes == (tmp_path / "a.onnx").stat().st_size < 250_000
    again = read_exported(tmp_path / "a.onnx")
    assert (
        again.said["name"] == "D2C5 student" and again.said["licence"] == "MIT" and again.said["precision"] == precision
    )
    assert "not for clinical use" in again.said["use"] and "trained on people 4x, 50 epochs" in again.said["provenance"]
    assert open_deployed(str(tmp_path / "a.onnx")).title == f"D2C5 student {precision}".removesuffix(" fp32")
    assert again.data.experiment == student.data.experiment and again.data.intensity == student.data.intensity
    assert torch.equal(again.data.mask, student.data.mask)


@pytest.mark.parametrize("operators", [["Conv"], ["MatMul"], []])
def test_the_operators_that_are_asked_for_are_quantised(operators, student):
    nodes = quantised(in_memory(student.network, student), student.data, operators).graph.node
    made = {node.output[0]: node.op_type for node in nodes}
    whole = {node.op_type for node in nodes if all(made.get(name) == "DequantizeLinear" for name in node.input)}
    assert whole & {"Conv", "MatMul"} == set(operators or ["Conv", "MatMul"])


def test_an_export_that_differs_too_much_is_not_written(student, tmp_path, monkeypatch):
    monkeypatch.setitem(TOLERANCES, "fp16", 1e-9)
    with pytest.raises(InputError, match="fp16 of D2C5 student differs from PyTorch by up to .*nothing was written"):
        export(student, tmp_path / "a.onnx", "fp16")
    assert not list(tmp_path.iterdir())


def test_an_exported_network_is_opened_like_any_other_and_exported_no_more(exported, student, tmp_path):
    again = open_deployed(str(exported))
    inputs = measured(student.data.mask)
    torch.testing.assert_close(again.reconstruct(*inputs), student.reconstruct(*inputs), rtol=0, atol=1e-5)
    with pytest.raises(InputError, match="samples? rows, this one samples columns: expected the same"):
        again.reconstruct(*measured(MASKS["columns"]))
    with pytest.raises(InputError, match="student.onnx is exported already: expected a network in PyTorch"):
        export(again, tmp_path / "b.onnx")


@pytest.mark.parametrize("mask_type", ["line", "gaussian", "lowpass"])
@pytest.mark.parametrize("resolution, dataset", [(20, "mine"), ("24x20", "knee")])
def test_training_data_goes_through_metadata(mask_type, resolution, dataset):
    switches = Switches(mask_type=mask_type)
    experiment = replace(STUDENT, dataset=dataset, acceleration="3x", resolution=resolution, switches=switches)
    data = TrainingData.of(experiment)
    again = TrainingData.from_metadata(data.metadata())
    assert again.experiment == experiment and torch.equal(again.mask, data.mask) and again.intensity == ()
    assert data.mask_for((30, 30)).shape == (30, 30)


BAD_METADATA = {
    "no mask": {"mask": ""},
    "line out of range": {"mask": '{"samples": "rows", "sampled": [400]}'},
    "no line": {"mask": '{"samples": "rows", "sampled": []}'},
    "lines of text": {"mask": '{"samples": "rows", "sampled": ["a"]}'},
    "another kind": {"mask": '{"samples": "spirals", "sampled": [0]}'},
    "huge": {"config": '{"resolution": "99999999x99999999"}'},
    "no config": {"config": "[]"},
    "intensities": {"intensity": "[NaN, 1]"},
}


@pytest.mark.parametrize("case", BAD_METADATA)
def test_other_metadata_is_refused(case, student):
    said = student.data.metadata()
    changed = {name: json.dumps(json.loads(said[name]) | json.loads(value)) if case == "huge" else value
               for name, value in BAD_METADATA[case].items()}  # fmt: skip
    with pytest.raises(InputError):
        TrainingData.from_metadata(said | changed)


def anew(model) -> bytes:
    """The file of a model that was changed on purpose, with the right fingerprint."""
    if all(weight.data_location != weight.EXTERNAL for weight in model.graph.initializer) and model.metadata_props:
        said = {entry.key: entry.value for entry in model.metadata_props if entry.key != "digest"}
        say(model, said)
    return model.SerializeToString()


def with_node(kind: str, **attributes):
    def change(model):
        model.graph.node.insert(0, helper.make_node(kind, ["x_u"], ["y"], **attributes))

    return change


def external(model):
    weight = model.graph.initializer[0]
    weight.ClearField("raw_data")
    weight.data_location = TensorProto.EXTERNAL
    weight.external_data.add(key="location", value="../../etc/passwd")


def nan(model):
    weight = model.graph.initializer[0]
    weight.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(weight) * np.float32(np.nan), weight.name))


def enlarged(model):
    model.graph.initializer.append(numpy_helper.from_array(np.array([1, 1, 9e4, 9e4], np.float32), "scale"))
    model.graph.node.insert(0, helper.make_node("Resize", ["x_u", "", "scale"], ["large"]))


def padded(model):
    next(a for a in model.graph.node[0].attribute if a.name == "pads").ints[:] = [10**6] * 4


def unnamed(model):
    del model.metadata_props[:]


def wide(model):
    model.graph.initializer.append(numpy_helper.from_array(np.zeros((2000, 1), np.float32), "wide"))


def renamed(model):
    model.graph.input[1].name = "image"


def later(model):
    model.opset_import[0].version = 25


HOSTILE = {
    "operator": (with_node("Loop"), "operator Loop"),
    "domain": (with_node("Conv", domain="evil"), "operator Conv"),
    "external": (external, "weights in another file"),
    "enlarged": (enlarged, "Resize by another factor than 2"),
    "padded": (padded, "Conv with pads"),
    "wide": (wide, "weights wide of shape"),
    "nobody's": (unnamed, "is no network that kdrecon export wrote"),
    "other inputs": (renamed, "cannot be read"),
    "opset": (later, "other operators than those of opset 18"),
}


@pytest.mark.parametrize("case", HOSTILE)
def test_another_graph_is_refused_before_it_runs(case, exported, tmp_path):
    change, message = HOSTILE[case]
    model = onnx.load(exported)
    change(model)
    (tmp_path / "x.onnx").write_bytes(anew(model))
    with pytest.raises(InputError, match=message) as error:
        read_exported(tmp_path / "x.onnx")
    assert "x.onnx" in one_line(error)


@pytest.mark.parametrize("cut", [0, 1, 100, -1, -1000])
def test_a_cut_file_is_refused(cut, exported, tmp_path):
    (tmp_path / "x.onnx").write_bytes(exported.read_bytes()[:cut])
    with pytest.raises(InputError, match="x.onnx") as error:
        read_exported(tmp_path / "x.onnx")
    one_line(error)


def test_one_bit_of_a_weight_is_found(exported, tmp_path):
    content = bytearray(exported.read_bytes())
    content[len(content) // 2] ^= 1
    (tmp_path / "x.onnx").write_bytes(content)
    with pytest.raises(InputError, match="x.onnx is damaged: expected the weights and metadata that were exported"):
        read_exported(tmp_path / "x.onnx")


def test_a_network_that_gives_nan_is_refused_when_it_runs(exported, tmp_path, student):
    model = onnx.load(exported)
    nan(model)
    (tmp_path / "x.onnx").write_bytes(anew(model))
    with pytest.raises(InputError, match="x.onnx gives no image .NaN"):
        open_deployed(str(tmp_path / "x.onnx")).reconstruct(*measured(student.data.mask))


def test_a_checkpoint_says_itself_what_it_is_or_is_refused(tmp_path):
    again = open_deployed(str(SHIPPED / "D5C5_sft.pt"))
    assert again.title == "D5C5 sft" and len(again.network.blocks) == 5
    torch.save({"model": {}}, tmp_path / "best_model.pt")
    with pytest.raises(InputError, match="best_model.pt does not say what network it holds.*kdrecon import-released"):
        open_deployed(str(tmp_path / "best_model.pt"))
    for name in ("nothing", str(tmp_path / "a.txt")):
        (tmp_path / "a.txt").write_text("", encoding="utf-8")
        with pytest.raises(InputError, match="expected an experiment folder.*D2C5_student"):
            open_deployed(name)
    with pytest.raises(InputError, match="holds no finished experiment"):
        open_deployed(str(tmp_path))


def test_the_command_exports(tmp_path):
    done = CliRunner().invoke(app, ["export", "D2C5_student", "--out", str(tmp_path / "a.onnx"), "--precision", "fp16"])
    assert done.exit_code == 0 and "largest difference from PyTorch on the sample" in done.stdout
    assert [path.name for path in tmp_path.iterdir()] == ["a.onnx"]


def test_networks_are_timed_side_by_side(exported):
    table = bench(["D2C5_student", str(exported)], batches=(1, 2), threads=(1,), repeats=2, memory=False)
    pairs = list(zip(table.network, table.engine, table.batch))
    engines = ["PyTorch", "ONNX Runtime"] + ["OpenVINO"] * bool(importlib.util.find_spec("openvino"))
    assert pairs == [
        ("D2C5 student", engine, batch) for batch in (1, 2) for engine in [*engines, *engines[1:]]
    ]  # fmt: skip
    assert (table["from"] <= table["ms a slice"]).all() and (table["ms a slice"] <= table["to"]).all()
    torch.testing.assert_close((table["ms a slice"] * table["slices a second"]).tolist(), [1000.0] * len(table))
    assert table.ratio[0] == 1


def test_without_the_extra_pytorch_alone_is_timed(monkeypatch):
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *rest: None if name == "onnx" else find(name, *rest))
    monkeypatch.setitem(sys.modules, "onnx", None)
    monkeypatch.setattr(torch, "set_num_threads", lambda count: None)  # of a process of its own
    table = bench(["D2C5_student"], batches=(1,), threads=(1,), repeats=1, memory=False)
    assert table.engine.tolist() == ["PyTorch"]
    assert _peak("D2C5_student", "PyTorch", 1, (24, 24)) < 2**20


def test_peak_memory_is_that_of_a_process_of_its_own():
    small, large = (peak("D2C5_student", "ONNX Runtime", batch, (120, 120)) for batch in (1, 16))
    assert 0 < small < large  # sixteen slices have sixteen times as large maps


def test_the_command_times():
    done = CliRunner().invoke(app, ["bench", "D2C5_student", "--repeats", "1", "--no-memory"])
    assert done.exit_code == 0 and "ONNX Runtime" in done.stdout and "ratio" in done.stdout
