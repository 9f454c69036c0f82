"""The laboratory: data and networks for one set of parameters, each network trained once and found again."""

import hashlib
import math
import shutil
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pandas as pd
import torch
from torch import nn

from kdrecon.data.slices import Slices
from kdrecon.data.slices import memory_limit as default_memory_limit
from kdrecon.data.splits import has_split, load_split
from kdrecon.distillation import get_method
from kdrecon.errors import InputError
from kdrecon.metrics import SMALLEST
from kdrecon.models.dccnn import DCCNN, ZeroFilled, count_parameters, dc_cnn
from kdrecon.models.sft import SFT
from kdrecon.runs.experiment import INITS, TEACHERS, Experiment, environment, resolution_of
from kdrecon.runs.parameters import Parameters, typed
from kdrecon.storage.checkpoints import differences, read_checkpoint, read_weights
from kdrecon.storage.files import write_json
from kdrecon.storage.places import SHIPPED, project_root
from kdrecon.storage.records import ANEW, read_json, read_table
from kdrecon.training.logs import Listener
from kdrecon.training.loop import CONTINUED, fit
from kdrecon.training.objectives import Objective, StudentFriendly, Supervised, distil
from kdrecon.training.recipe import resolve_precision

RECORD = {  # what config.json holds beside its config, as far as tables and networks need it
    "origin": str, "parameters": int, "steps": int, "best_epoch": int, "precision": str, "layout": str,
    "evaluation": dict, "gradient_norms": dict,
}  # fmt: skip


@dataclass
class Network:
    """A reconstruction network of a run, ready for use.

    Attributes:
        model: the network in evaluation mode; a :class:`kdrecon.models.dccnn.ZeroFilled` for the baseline.
        experiment: what identifies it.
        folder: its experiment folder.
        origin: "trained" just now, "loaded" from this run, or "ready" (shipped with the repository).
        history: a row an epoch: learning rate, loss terms, validation L1; empty for the baseline.
        student: of an SFT training also the trained student blocks (S1 untrained), else None.
    """

    model: nn.Module
    experiment: Experiment
    folder: Path
    origin: str
    history: pd.DataFrame
    student: DCCNN | None = None


class Laboratory:
    """Data and networks for one set of parameters.

    A network that is asked for is loaded when this run has finished it, taken from the repository when
    ``ready`` is set and a ready network fits, and trained otherwise, continuing where an earlier training was
    interrupted. A message says which.

    Args:
        memory_limit: bytes that a split may take up in memory before it is streamed from its files instead; by default
            a quarter of what there is.
        listeners: who hears of every epoch of a training, as :func:`kdrecon.teaching.live.curve` does.
        **parameters: see :class:`kdrecon.runs.parameters.Parameters`.

    Raises:
        InputError: a parameter, the data or the mask cannot be used.
    """

    def __init__(self, *, memory_limit: int | None = None, listeners: Sequence[Listener] = (), **parameters):
        self.parameters = p = Parameters.from_mapping(parameters)
        self.device, self.switches = p.torch_device, p.chosen
        self.memory_limit = default_memory_limit(self.device) if memory_limit is None else memory_limit
        self.listeners = listeners
        self._networks: dict[Path, Network] = {}
        tested = has_split(p.dataset, "test", p.acceleration, self._data_root, self.switches.mask_type)
        self.evaluation_split = "test" if tested else "validation"
        self.train, self.validation = self._split("train"), self._split("validation")
        self.test = self._split("test") if tested else self.validation
        self.mask = self.train.mask
        if not (torch.equal(self.mask, self.validation.mask) and torch.equal(self.mask, self.test.mask)):
            raise InputError(
                f"the splits of {p.dataset!r} carry different masks: expected one mask; prepare the data set anew"
            )
        if min(shape := tuple(self.mask.shape)) < SMALLEST:
            raise InputError(
                f"images of {shape[0]} x {shape[1]}: expected at least {SMALLEST} x {SMALLEST}, which the metric vif needs; "
                "raise resolution, or take larger images"
            )

    def teacher(self, ready: bool | None = None) -> Network:
        """The teacher trained alone (D5C5). ready=False trains it here even where a ready one ships."""
        return self._network(self._experiment("teacher"), ready)

    def student(self, ready: bool | None = None) -> Network:
        """The student trained alone (D3C5): what distillation has to beat."""
        return self._network(self._experiment("student"), ready)

    def sft_teacher(self, ready: bool | None = None) -> Network:
        """The student-friendly teacher (D5C5), trained with unfolded D3C5 branches; .student holds their blocks."""
        return self._network(self._experiment("sft_teacher"), ready)

    def distilled(
        self, method: str, teacher: str = "standard", init: str | None = None, ready: bool | None = None
    ) -> Network:
        """A student (D3C5) distilled from a frozen teacher.

        Args:
            method: key of :data:`kdrecon.distillation.METHODS`.
            teacher: "standard" (trained alone: Std-KD) or "sft" (SFT-KD).
            init: "random" or "sft" (blocks S2 to S5 of the SFT training, S1 fresh); by default what the switch
                student_init says, in the paper random for the standard teacher and sft for the SFT teacher.
            ready: as in :meth:`teacher`, of the student; what it learns from is ready where the parameters say so.
        """
        for value, known, name in ((teacher, TEACHERS, "teacher"), (init, INITS, "init")):
            if value is not None and value not in known:
                raise InputError(f"{name} {value!r} is unknown: expected one of {', '.join(known)}")
        replace(self.parameters, methods=[method]).check()
        matched = "sft" if teacher == "sft" else "random"
        init = init or {"matched": matched}.get(self.switches.student_init, self.switches.student_init)
        chosen = self.sft_teacher() if teacher == "sft" else self.teacher()
        origin = "ready" if read_record(chosen.folder).get("origin") == "ready" else ""
        return self._network(self._experiment("student", teacher, method, init, origin), ready)

    def control(self, network: Network) -> Network:
        """A student trained alone, without any teacher, for as many steps as lie behind a distilled student.

        The steps are those of :meth:`student_steps`, rounded up to whole epochs; the schedule is stretched over them.
        """
        epochs = math.ceil(self.student_steps(network) / self._steps_an_epoch(self.parameters.batch_size))
        return self._network(replace(self._experiment("control"), epochs=epochs), ready=False)

    def student_steps(self, network: Network) -> int:
        """Optimiser steps that have moved the weights of a student: of its own training, in all stages of it, and, where
        it started from them, of the SFT training that made its blocks.

        Counted are steps, not their cost: a step of SFT runs the teacher and four branch blocks as well, a step of
        distillation the teacher's forward pass. S1, which the SFT training does not touch, has seen fewer.
        """
        return read_record(network.folder)["steps"]

    def _steps_behind(self, experiment: Experiment) -> int:
        e, stages = experiment, 2 if experiment.method and experiment.switches.schedule == "two_stage" else 1
        start = self.student_steps(self.sft_teacher()) if e.init == "sft" else 0
        return start + stages * e.epochs * self._steps_an_epoch(e.batch_size)

    def _steps_an_epoch(self, batch_size: int) -> int:
        return math.ceil(len(self.train) / batch_size)

    def new_student(self) -> DCCNN:
        """An untrained student (D3C5) with the first weights that the seed gives it."""
        return self._objective(self._experiment("student")).network.to(self.device)

    def zero_filled(self) -> Network:
        """The baseline without a network."""
        experiment = replace(self._experiment("zero_filled"), epochs=0)
        folder = experiment.folder(self.parameters.run_folder)
        if not read_record(folder):
            write_json(
                folder / "config.json",
                {"config": self._config(experiment), "finished": True, "parameters": 0},
            )
        return Network(ZeroFilled(), experiment, folder, "loaded", pd.DataFrame())

    @property
    def _data_root(self) -> str:
        return self.parameters.data_root and str(project_root() / self.parameters.data_root)

    def _split(self, split: str) -> Slices:
        p = self.parameters
        place = (p.dataset, split, p.acceleration, p.resolution, self._data_root, self.switches.mask_type)
        scored = split == self.evaluation_split
        return load_split(*place, limit=self.memory_limit, scored=scored).to(self.device)

    def _experiment(
        self, role: str, teacher: str = "", method: str = "", init: str = "random", teacher_origin: str = ""
    ) -> Experiment:
        p, s = self.parameters, self.switches
        model = {
            "zero_filled": "zero_filled", "teacher": s.teacher_network, "sft_teacher": s.teacher_network
        }.get(role, s.student_network)  # fmt: skip
        return Experiment(
            p.dataset, p.acceleration, resolution_of(self.mask.shape), p.epochs, p.batch_size, p.lr, p.seed,
            model, role, teacher, method, init, teacher_origin, p.precision, s.acting_on(role, teacher, init),
        )  # fmt: skip

    def _config(self, experiment: Experiment) -> dict:
        config = {**experiment.record(), "data": f"{self.train.fingerprint} {self.validation.fingerprint}"}
        if experiment.method:
            config["weight"] = get_method(experiment.method, experiment.switches.kd_form).weight
        return config

    def _network(self, experiment: Experiment, ready: bool | None) -> Network:
        folder = experiment.folder(self.parameters.run_folder)
        record = read_record(folder)
        if record.get("finished"):
            found, expected = record["config"], self._config(experiment)
            if Experiment.from_record(found).record() | found != expected:
                raise InputError(
                    f"{folder} holds another configuration ({differences(found, expected)}): "
                    "choose another run_root, or delete the folder to train anew"
                )
            if any((folder / name).exists() for name in CONTINUED) and not _whole(folder):
                return self._train(experiment, folder)  # nothing is left to train: model.pt holds network and log, too
            return self._load(experiment, folder, "loaded")
        if (self.parameters.ready if ready is None else ready) and (found := self._ready(experiment)):
            return found
        return self._train(experiment, folder)

    def _ready(self, wanted: Experiment) -> Network | None:
        """The ready network that does the wanted job, copied into the run so that it is evaluated like any other."""
        path = SHIPPED / f"{wanted.model}_{wanted.model_type}.json"
        if not path.exists():
            return None
        record = read_json(path)
        free = ("epochs", "batch_size", "lr", "seed", "teacher_origin", "precision")
        experiment = Experiment.from_record(record["config"])
        found = experiment.record() | record["config"]
        if any(found.get(key) != value for key, value in self._config(wanted).items() if key not in free):
            return None
        folder = experiment.folder(self.parameters.run_folder)
        if not read_record(folder).get("finished") or not _whole(folder):
            folder.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path.with_suffix(".pt"), folder / "best_model.pt")
            shutil.copyfile(path.with_suffix(".csv"), folder / "log.csv")
            write_json(folder / "config.json", record | {"origin": "ready"})
        return self._load(experiment, folder, "ready")

    def _train(self, experiment: Experiment, folder: Path) -> Network:
        config = self._config(experiment)
        objective = self._objective(experiment).to(self.device)
        recipe = replace(self.parameters.recipe, epochs=experiment.epochs)
        record = {
            "config": config,
            "finished": False,
            "origin": "trained",
            "parameters": count_parameters(objective.evaluated),
            "steps": self._steps_behind(experiment),
            "device": self.device.type,
            "precision": resolve_precision(recipe.precision, self.device),
            "layout": recipe.layout,
            "slices_from": {"train": self.train.storage, "validation": self.validation.storage},
            "environment": environment(),
        }
        write_json(folder / "config.json", record)
        title, data = experiment.title, (self.train, self.validation, recipe)
        started, seconds = time.perf_counter(), 0.0
        if experiment.method and experiment.switches.schedule == "two_stage":
            features = self._objective(experiment, "features").to(self.device)
            history = fit(features, *data, folder / "features", config, f"{title}, features", self.listeners)
            objective.network.load_state_dict(features.network.state_dict())
            seconds = history.seconds.sum()
        history = fit(objective, *data, folder, config, title, self.listeners)
        best = history.loc[history.validation_l1.idxmin()]
        made = read_checkpoint(folder / "best_model.pt")["config"]
        record |= {
            "finished": True,
            "device": made["device"],
            "precision": made["precision"],
            "seconds": round(float(seconds + history.seconds.sum()), 2),
            "best_epoch": int(best.epoch),
            "validation_l1": float(best.validation_l1),
            "gradient_norms": read_json(folder / "gradient_norms.json"),
        }
        write_json(folder / "config.json", record)
        print(
            f"{title}: trained, {len(history)} epochs in {time.perf_counter() - started:.0f} s, "
            f"best validation L1 {best.validation_l1:.5f} in epoch {best.epoch:.0f}"
        )
        return self._load(experiment, folder, "trained")

    def _build(self, model: str) -> DCCNN:
        return dc_cnn(model, self.switches.fidelity, self.switches.residual)

    def _objective(self, experiment: Experiment, stage: str = "") -> Objective:
        e, switches = experiment, experiment.switches
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(e.seed)
            model = self._build(e.model)
            if e.role == "sft_teacher":
                return StudentFriendly(
                    SFT(model, self._build(switches.student_network)), switches.imitation, switches.sft_terms
                )
            if not e.method:
                return Supervised(model)
            if e.init == "sft":
                start_from_sft(model, self.sft_teacher().student)
            teacher = self.sft_teacher() if e.teacher == "sft" else self.teacher()
            stage = stage or ("reconstruction" if switches.schedule == "two_stage" else "joint")
            return distil(model, teacher.model, e.method, kd_form=switches.kd_form, alpha=switches.alpha, stage=stage)

    def _load(self, experiment: Experiment, folder: Path, origin: str) -> Network:
        if folder in self._networks:
            return self._networks[folder]
        if "steps" not in (record := read_record(folder)):  # written by version 0.1
            write_json(folder / "config.json", record | {"steps": self._steps_behind(experiment)})
        self._networks[folder] = replace(open_network(folder, self.device), origin=origin)
        if origin != "trained":
            source = "ready network" if origin == "ready" else "loaded from this run"
            print(f"{experiment.title}: {source}, {experiment.epochs} epochs")
        return self._networks[folder]


def open_network(folder: Path, device: torch.device = torch.device("cpu")) -> Network:
    """The network of a finished experiment folder, ready for use; its history is empty where the folder has no log.csv.

    Raises:
        InputError: no finished experiment, or a checkpoint that does not fit its record.
    """
    record = read_record(folder)
    if not record.get("finished"):
        raise InputError(f"{folder} holds no finished experiment: expected config.json and best_model.pt")
    experiment = Experiment.from_record(record["config"])
    switches, student = experiment.switches, None
    model = dc_cnn(experiment.model, switches.fidelity, switches.residual)
    if experiment.role == "sft_teacher":
        student = dc_cnn(switches.student_network, switches.fidelity, switches.residual)
    load_network(SFT(model, student) if student else model, folder / "best_model.pt", device)
    history = _read_log(folder) if (folder / "log.csv").exists() else pd.DataFrame()
    return Network(model, experiment, folder, record.get("origin", "trained"), history, student)


def _read_log(folder: Path) -> pd.DataFrame:
    return read_table(folder / "log.csv", {"epoch": int, "validation_l1": float}, others=float)


def _whole(folder: Path) -> bool:
    """Whether network and log of a finished experiment can be read; a message says what cannot."""
    try:
        _read_log(folder)
        open_network(folder)
    except InputError as error:
        print(error)
        return False
    return True


def load_network(network: nn.Module, path: Path, device: torch.device) -> None:
    """Load the weights of a best_model.pt into a network, in place, and put it on the device in evaluation mode.

    Raises:
        InputError: the file is damaged or no checkpoint that loads safely (nothing in it is executed), or a tensor is
            missing, unexpected, of another shape, or not finite.
    """
    network.load_state_dict(read_weights(path, network.state_dict()))
    network.to(device).eval()


def start_from_sft(student: DCCNN, branches: DCCNN) -> list[str]:
    """Start a student from the student blocks S2..SN of an SFT training; S1, which SFT never trains, stays fresh.

    Args:
        student: the network to initialise, changed in place.
        branches: the student half of a trained :class:`kdrecon.models.sft.SFT`.

    Returns:
        the names of the tensors that were loaded.

    Raises:
        InputError: a block has no counterpart of the same shape; nothing is loaded then.
    """
    state = {name: value for name, value in branches.state_dict().items() if not name.startswith("blocks.0.")}
    expected = {name: value.shape for name, value in student.state_dict().items() if not name.startswith("blocks.0.")}
    if not state or {name: value.shape for name, value in state.items()} != expected:
        raise InputError(
            f"the SFT student blocks are of a {branches.name}, the student is a {student.name}: nothing was loaded; "
            "expected the same architecture with at least 2 cascades"
        )
    student.load_state_dict(state, strict=False)
    return sorted(state)


def weights_hash(model: nn.Module) -> str:
    """Fingerprint of a model's weights."""
    digest = hashlib.sha256()
    for tensor in model.state_dict().values():
        digest.update(tensor.cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()[:16]


def read_record(folder: Path) -> dict:
    """The run record config.json of an experiment folder; empty where there is none.

    Raises:
        InputError: it cannot be read, or is not what a run writes.
    """
    path = folder / "config.json"
    if record := read_json(path):
        try:
            Experiment.from_record(record.get("config"))
            for name in {"parameters", *record} & RECORD.keys():
                typed(name, record.get(name), RECORD[name])
            for name in ("weights", "data", "split") if "evaluation" in record else ():
                typed(name, record["evaluation"].get(name), str)
            for name, value in record.get("gradient_norms", {}).items():
                typed(name, value, float)
        except InputError as error:
            raise InputError(f"{path} is damaged ({error}); {ANEW}") from None
    return record
