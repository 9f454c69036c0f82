"""The laboratory: data and networks for one set of parameters, each network trained once and found again.

>>> from kdrecon.runs.laboratory import Laboratory
>>> lab = Laboratory(dataset="sample", resolution=60, epochs=1)
>>> len(lab.train), lab.evaluation_split, lab.experiment("student").architecture
(48, 'test', 'D2C5')
"""

import contextlib
import math
import shutil
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pandas as pd
import torch
from torch import nn
from tqdm.auto import tqdm

from kdrecon.choices import BASELINES
from kdrecon.data.slices import memory_limit as default_memory_limit
from kdrecon.distillation.base import Method
from kdrecon.distillation.own import MapLoss, own_method
from kdrecon.distillation.registry import METHODS
from kdrecon.errors import InputError, shown
from kdrecon.models.dccnn import DCCNN, count_parameters
from kdrecon.runs.costs import epochs_of_cost
from kdrecon.runs.data import open_splits
from kdrecon.runs.experiment import (
    TEACHERS,
    Experiment,
    check_name,
    check_startable,
    control_of,
    kinds,
    resolution_of,
)
from kdrecon.runs.networks import Network, build, can_be_read, completed, open_network
from kdrecon.runs.parameters import with_settings
from kdrecon.runs.record import Record, read_record, require_record, write_record
from kdrecon.runs.starts import Start, read_start
from kdrecon.runs.switches import FROM_SFT, INITS
from kdrecon.runs.versions import environment
from kdrecon.storage.checkpoints import differences
from kdrecon.storage.places import SHIPPED
from kdrecon.training.logs import Listener
from kdrecon.training.loop import CONTINUED
from kdrecon.training.objectives import Objective, traits_of
from kdrecon.training.processes import Job, trained
from kdrecon.training.recipe import resolve_jobs, resolve_layout, resolve_precision


class Laboratory:
    """Data and networks for one set of parameters.

    A network that is asked for is loaded when this run has finished it, taken from the repository when
    ``ready`` is set and a ready network fits, and trained otherwise, continuing where an earlier training was
    interrupted. A message says which.

    Args:
        settings: parameters beside those that are named: a mapping, or a parameter file, see
            :func:`kdrecon.runs.parameters.with_settings`.
        memory_limit: bytes that a split may take up in memory before it is streamed from its files instead; by default
            a quarter of what there is, over the processes that hold it.
        listeners: who hears of every epoch of a training, as :func:`kdrecon.teaching.live.curve` does.
        jobs: trainings side by side at the most, see :func:`kdrecon.training.recipe.resolve_jobs`.
        **parameters: see :class:`kdrecon.runs.parameters.Parameters`.

    Raises:
        InputError: a parameter, the data or the mask cannot be used.
    """

    def __init__(
        self, settings: str | Path | dict[str, Any] = "", *, memory_limit: int | None = None,
        listeners: Sequence[Listener] = (), jobs: int | None = None, **parameters: Any,
    ) -> None:  # fmt: skip
        self.parameters = p = with_settings(settings or {}, parameters)
        self.device, self.switches = p.torch_device, p.chosen
        self.jobs, self.cores = resolve_jobs(jobs, self.device), torch.get_num_threads()
        holders = self.jobs + (self.jobs > 1)
        self.memory_limit = default_memory_limit(self.device) // holders if memory_limit is None else memory_limit
        self.listeners = listeners
        self._networks: dict[Path, Network] = {}
        self._starts: dict[str, Start] = {}
        data = open_splits(p, self.memory_limit, self.device)
        self.train, self.validation, self.test, self.evaluation_split, self.mask = data

    def teacher(self, ready: bool | None = None) -> Network:
        """The teacher trained alone. ready=False trains it here even where a ready one ships."""
        return self.network(self.experiment("teacher"), ready)

    def student(self, ready: bool | None = None) -> Network:
        """The student trained alone: what distillation has to beat."""
        return self.network(self.experiment("student"), ready)

    def sft_teacher(self, ready: bool | None = None) -> Network:
        """The student-friendly teacher, trained with the student's unfolded branches; .student holds their blocks."""
        return self.network(self.experiment("sft_teacher"), ready)

    def distilled(
        self, method: str | MapLoss | type[Method], teacher: str = "standard", init: str | None = None,
        ready: bool | None = None, weight: float | None = None,
    ) -> Network:  # fmt: skip
        """A student distilled from a frozen teacher.

        Args:
            method: one of :func:`kdrecon.distillation.method_keys`; or a loss of one's own, a function or module that takes
                the maps of student and teacher (:func:`kdrecon.distillation.own_method`), recorded under its name.
            teacher: "standard" (trained alone: Std-KD) or "sft" (SFT-KD).
            init: "random", "sft" (blocks S2 to S5 of the SFT training, S1 fresh) or "sft_trained" (such a student after
                a training alone); by default what the switch student_init says, in the paper random for the standard
                teacher and sft for the SFT teacher.
            ready: as in :meth:`teacher`, of the student; what it learns from is ready where the parameters say so.
            weight: w of a loss of one's own, 1 by default.
        """
        return self.network(self.distillation(method, teacher, init, weight), ready)

    def distillation(
        self, method: str | MapLoss | type[Method], teacher: str = "standard", init: str | None = None,
        weight: float | None = None,
    ) -> Experiment:  # fmt: skip
        """What identifies the student that :meth:`distilled` returns; nothing is trained."""
        if not isinstance(method, str):
            method = own_method(method, weight, cast(DCCNN, self.new_student()).convs[0].out_channels)
        elif weight is not None:
            raise InputError(
                f"weight = {shown(weight)} of method {shown(method)}: expected it with a loss of your own alone; the switch "
                "weight_factor multiplies that of a method"
            )
        for value, known, name in ((teacher, TEACHERS, "teacher"), (init, INITS, "init")):
            if value is not None and value not in known:
                raise InputError(f"{name} {value!r} is unknown: expected one of {', '.join(known)}")
        replace(self.parameters, methods=[method]).check()
        return self.experiment("student", teacher, method, init or self.switches.start(teacher))

    def control(self, network: Network, equal: str = "steps") -> Network:
        """A student trained alone, without any teacher, for as many steps as lie behind a distilled student, or at its cost.

        The steps are those of :meth:`student_steps`, the cost is that of :func:`kdrecon.runs.costs.training_cost` with the
        teacher's training included; both are rounded up to whole epochs, and the schedule is stretched over them. The
        control of equal steps of a ready student is ready, too, where one ships.

        Raises:
            InputError: the cost of a student whose teacher is ready, which this run has not trained.
        """
        steps, ready_made = self.student_steps(network), network.origin == "ready"
        if equal == "steps" and ready_made and (found := self._ready(self.experiment("control"), steps)):
            return found
        return self.network(self._control(network.experiment, ready_made, steps, equal), ready=False)

    def _control(self, of: Experiment, ready_made: bool, steps: int, equal: str) -> Experiment:
        """The control that this run trains, of a distilled student with so many steps."""
        control = self.experiment("control")
        if equal == "steps":
            return replace(control, epochs=math.ceil(steps / self._steps_an_epoch(self.parameters.batch_size)))
        if ready_made or of.teacher_origin == "ready":
            raise InputError(f"cost of {of.title}: expected a teacher that this run has trained; set ready to false")
        return replace(control, epochs=epochs_of_cost(of, control))

    def student_steps(self, network: Network) -> int:
        """Optimiser steps that have moved the weights of a student, as its training recorded them.

        They are those of its own training, in all stages of it, and, where it started from them, of the SFT training that
        made its blocks. Counted are steps, not their cost: a step of SFT runs the teacher and four branch blocks as well,
        and a distillation the teacher at least once on every slice. S1, which no SFT training touches, has seen fewer.
        """
        return require_record(network.folder).steps or 0

    def new_student(self) -> nn.Module:
        """An untrained student with the first weights that the seed gives it."""
        return build(self.experiment("student")).evaluated.to(self.device)

    def zero_filled(self) -> Network:
        """The baseline without a network."""
        experiment = replace(self.experiment(self.train.task.baseline.name), epochs=0)
        folder = experiment.folder(self.parameters.run_folder)
        if not read_record(folder):
            write_record(Record(self._config(experiment), parameters=0, finished=True), folder)
        return Network(self.train.task.baseline(), experiment, folder, origin="", history=pd.DataFrame())

    def experiment(self, role: str, teacher: str = "", method: str = "", init: str = "random") -> Experiment:
        """What identifies the network with this role, see :class:`kdrecon.runs.experiment.Experiment`; nothing is trained."""
        return Experiment.of(self.parameters, resolution_of(self.mask.shape), role, teacher, method, init)

    def started(self, experiment: Experiment, start: Path) -> Experiment:
        """The same training, but with the weights of another run's network to begin with; :meth:`network` takes it.

        Args:
            experiment: of :meth:`experiment`, :meth:`distillation` and the like.
            start: its experiment folder or best_model.pt. It has the same architecture, that of an SFT training is of one,
                too.

        Raises:
            InputError: it cannot be read, or does not fit.
        """
        found = read_start(start)
        found.check(experiment)
        self._starts[found.name] = found
        e = experiment
        return replace(e, init=found.name, switches=self.switches.acting_on(e.role, e.teacher, found.name, e.method))

    def named(self, name: str, ready: bool | None = None, start: Path | None = None) -> Network:
        """The network of that name: teacher, student, sft, kd-METHOD, sftkd-METHOD; a control; a baseline.

        Args:
            name: of :func:`kdrecon.runs.experiment.kinds`, "control-" and one of a distilled student, or "zero_filled".
            ready: as in :meth:`teacher`; what the network needs is ready where the parameters say so.
            start: network of another run that its first weights come from, see :meth:`started`.

        Raises:
            InputError: there is no network of that name, or it cannot start there.
        """
        check_name(name)
        if start:
            check_startable(name)
        if name in BASELINES:
            return self.zero_filled()
        equal, controlled = control_of(name)
        if equal:
            return self.control(self.named(controlled), equal)
        _, teacher, method = kinds()[name]
        alone = Experiment.named(self.parameters, resolution_of(self.mask.shape), name)
        experiment = self.distillation(method, teacher) if method else alone
        return self.network(self.started(experiment, start) if start else experiment, ready)

    def outlook(self, name: str, ready: bool | None = None) -> tuple[Experiment, Record | None]:
        """What :meth:`named` would give; nothing is trained, no weights are read.

        Args:
            name, ready: as in :meth:`named`; of a control, ready is that of the student whose control it is.

        Returns:
            the experiment, and its record: finished, begun, or None where asking for the network would begin to train it.

        Raises:
            InputError: there is no network of that name, or its folder holds another configuration.
        """
        check_name(name)
        if name in BASELINES:
            raise InputError(f"network {name!r} is a baseline: expected one that is trained")
        equal, controlled = control_of(name)
        wanted = self._taught(Experiment.named(self.parameters, resolution_of(self.mask.shape), controlled))
        record = self._record(wanted, ready)
        found = record.experiment if record and record.finished else wanted
        if not equal:
            return found, record
        steps, ready_made = self._steps_behind(wanted, ready), bool(record and record.origin == "ready")
        if equal == "steps" and ready_made and (shipped := self._shipped(self.experiment("control"), steps)):
            return shipped.experiment, shipped
        control = self._control(found, ready_made, steps, equal)
        return control, self._record(control, ready=False)

    def network(self, experiment: Experiment, ready: bool | None = None) -> Network:
        """The network of an experiment: found in the run, ready where one fits, or trained, with what it needs before it.

        Args:
            experiment: of this laboratory's data, see :meth:`experiment`.
            ready: whether a ready network will do; by default what the parameters say.

        Raises:
            InputError: its folder holds another configuration, or another process trains in it.
        """
        return self.networks([experiment], ready)[0]

    def networks(self, experiments: Iterable[Experiment], ready: bool | None = None) -> list[Network]:
        """The networks of several experiments, in their order, each as :meth:`network` gives it.

        Those that must be trained here train side by side, as many as the laboratory has jobs, after what they need. They
        share the cores by how many are asked for at once, whether or not some are there already: else the rounding of a
        network would depend on which others were finished before it.

        Args:
            experiments, ready: as in :meth:`network`.

        Raises:
            InputError, FloatingPointError: as the trainings one by one; the others have saved what they have by then.
        """
        wanted = list(experiments)
        teachers: dict[Experiment, bool | None] = {e.needs()[0]: None for e in wanted if e.method}
        found = self._together(teachers | {e: ready for e in wanted if not e.method})
        wanted = [self._taught(e) for e in wanted]
        found |= self._together({e: ready for e in wanted if e.method})
        return [found[e] for e in wanted]

    def _together(self, wanted: dict[Experiment, bool | None]) -> dict[Experiment, Network]:
        """Networks whose teachers are there, found or trained; a value says whether a ready one will do."""
        found = {e: self._find(e, ready) for e, ready in wanted.items()}
        trained = self._train([e for e, network in found.items() if network is None], min(self.jobs, len(wanted)))
        return trained | {e: network for e, network in found.items() if network}

    def _find(self, experiment: Experiment, ready: bool | None) -> Network | None:
        """The network of an experiment, where it need not be trained."""
        if self._finished(experiment):
            folder = experiment.folder(self.parameters.run_folder)
            if any((folder / name).exists() for name in CONTINUED) and not can_be_read(folder):
                return None  # nothing is left to train: model.pt holds network and log, too
            return self._load(experiment, folder, "loaded from this run")
        return self._ready(experiment) if self._may_be_ready(ready) else None

    def _may_be_ready(self, ready: bool | None) -> bool:
        return self.parameters.ready if ready is None else ready

    def _finished(self, experiment: Experiment) -> Record | None:
        """The record of an experiment that this run has finished; an InputError where its folder holds another one."""
        folder = experiment.folder(self.parameters.run_folder)
        record = read_record(folder)
        if not (record and record.finished):
            return None
        expected = self._config(experiment)
        if record.experiment.config() | record.config != expected:
            raise InputError(
                f"{folder} holds another configuration ({differences(record.config, expected)}): "
                "choose another run_root, or delete the folder to train anew"
            )
        return record

    def _record(self, experiment: Experiment, ready: bool | None = None) -> Record | None:
        """The record of the network that :meth:`_find` would find, or else of a training that was begun."""
        found = self._finished(experiment) or (self._shipped(experiment) if self._may_be_ready(ready) else None)
        return found or read_record(experiment.folder(self.parameters.run_folder))

    def _taught(self, experiment: Experiment) -> Experiment:
        """An experiment with where its teacher comes from."""
        teacher = self._record(experiment.needs()[0]) if experiment.method else None
        return replace(experiment, teacher_origin="ready" if teacher and teacher.origin == "ready" else "")

    def _config(self, experiment: Experiment) -> dict:
        config = {**experiment.config(), "data": f"{self.train.fingerprint} {self.validation.fingerprint}"}
        if experiment.method:
            own = traits_of(experiment.method, experiment.switches.kd_form).weight
            config["weight"] = own * experiment.switches.weight_factor
        return config

    def _shipped(self, wanted: Experiment, steps: int | None = None) -> Record | None:
        """The record of the ready network that does the wanted job."""
        record = read_record(SHIPPED, f"{wanted.short_name}.json")
        if not record or steps not in (None, record.steps):
            return None
        free = ("epochs", "batch_size", "lr", "seed", "teacher_origin", "precision", "augment", "lr_schedule")
        found = record.experiment.config() | record.config
        if any(found.get(key) != value for key, value in self._config(wanted).items() if key not in free):
            return None
        return replace(record, origin="ready")

    def _ready(self, wanted: Experiment, steps: int | None = None) -> Network | None:
        """The ready network that does the wanted job, copied into the run so that it is evaluated like any other."""
        if not (record := self._shipped(wanted, steps)):
            return None
        name, experiment = wanted.short_name, record.experiment
        folder = experiment.folder(self.parameters.run_folder)
        present = read_record(folder)
        if not (present and present.finished and can_be_read(folder)):
            folder.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(SHIPPED / f"{name}.pt", folder / "best_model.pt")
            shutil.copyfile(SHIPPED / f"{name}.csv", folder / "log.csv")
            write_record(record, folder)
        return self._load(experiment, folder, "ready network")

    def _train(self, experiments: list[Experiment], side_by_side: int) -> dict[Experiment, Network]:
        """Train networks whose teachers are there, after what else they need, on so many shares of the cores."""
        if not experiments:
            return {}
        needed = self._together(dict.fromkeys(need for e in experiments for need in e.needs()))
        begun: dict[Path, tuple[Experiment, Record, float]] = {}

        def jobs() -> Iterator[Job]:
            for e in experiments:
                networks = [needed[need] for need in e.needs()]
                objectives = {stage: self._objective(e, networks, stage) for stage in e.stages}
                record = self._begun(e, objectives[e.stages[-1]])
                folder = e.folder(self.parameters.run_folder)
                write_record(record, folder)
                begun[folder] = e, record, time.perf_counter()
                recipe = replace(self.parameters.recipe, epochs=e.epochs)
                yield Job(objectives, recipe, folder, record.config, e.title)

        data, processes = (self.train, self.validation), min(side_by_side, len(experiments))
        threads, networks = max(1, self.cores // side_by_side), {}
        with contextlib.closing(trained(jobs(), data, processes, threads, self.listeners)) as ended:
            for job, histories in ended:
                experiment, record, started = begun[job.folder]
                finished = completed(record, histories, job.folder)
                write_record(finished, job.folder)
                tqdm.write(  # above the bars of those that still train
                    f"{experiment.title}: trained, {len(histories[-1])} epochs in {time.perf_counter() - started:.0f} s, "
                    f"best validation L1 {finished.others['validation_l1']:.5f} in epoch {finished.best_epoch}"
                )
                networks[experiment] = self._load(experiment, job.folder)
        return networks

    def _objective(self, experiment: Experiment, networks: list[Network], stage: str | None = None) -> Objective:
        """The objective of an experiment with the networks that it needs, the teacher first, on the device."""
        given = {}
        if networks:
            given["teacher"] = cast(DCCNN, networks[0].model)
            given["branches"] = networks[-1].student or cast(DCCNN, networks[-1].model)
        elsewhere = self._starts.get(experiment.init)
        return build(experiment, **given, stage=stage, start=elsewhere.network if elsewhere else None).to(self.device)

    def _begun(self, experiment: Experiment, objective: Objective) -> Record:
        """The record of a training that begins."""
        recipe = self.parameters.recipe
        precision = resolve_precision(recipe.precision, self.device)
        source = getattr(METHODS.get(experiment.method), "source", "")  # of a loss of one's own
        return Record(
            config=self._config(experiment),
            origin="trained",
            parameters=count_parameters(objective.evaluated),
            steps=self._steps(experiment),
            precision=precision,
            layout=resolve_layout(recipe.layout, precision, self.device),
            others={
                "device": self.device.type,
                "slices_from": {"train": self.train.storage, "validation": self.validation.storage},
                "environment": environment(),
            }
            | ({"start": start.told} if (start := self._starts.get(experiment.init)) else {})
            | ({"method_source": source} if source else {}),
        )

    def _steps(self, experiment: Experiment) -> int:
        """The steps that lie behind the weights of an experiment once it is trained: see :meth:`student_steps`."""
        start = self._starts[experiment.init].steps if experiment.init in self._starts else 0
        if experiment.init in FROM_SFT:
            start = self._steps_behind(experiment.needs()[-1])
        return start + len(experiment.stages) * experiment.epochs * self._steps_an_epoch(experiment.batch_size)

    def _steps_behind(self, experiment: Experiment, ready: bool | None = None) -> int:
        """Those of the network that is there, or will be."""
        record = self._record(experiment, ready)
        return self._steps(experiment) if record is None or record.steps is None else record.steps

    def _steps_an_epoch(self, batch_size: int) -> int:
        return math.ceil(len(self.train) / batch_size)

    def _load(self, experiment: Experiment, folder: Path, found: str = "") -> Network:
        """The network of a finished experiment, opened once; a message says how it was found."""
        if folder not in self._networks:
            if (record := require_record(folder)).steps is None:  # written by version 0.1
                write_record(replace(record, steps=self._steps(experiment)), folder)
            self._networks[folder] = open_network(folder, self.device)
            if found:
                print(f"{experiment.title}: {found}, {experiment.epochs} epochs")
        return self._networks[folder]
