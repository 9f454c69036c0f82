"""How strongly each distillation loss pulls: its size and its gradient beside those of the reconstruction loss, at the start.

The weights of the methods were chosen with this table so that the ratio of gradients is near one half for a random student
and a converged teacher trained alone; one constant a method, whatever teacher and first weights a run uses.

    python benchmarks/method_weights.py
"""

import tempfile

import numpy as np
import pandas as pd
import torch

from kdrecon.distillation import FORMS, select
from kdrecon.models.dccnn import dc_cnn
from kdrecon.runs.laboratory import Laboratory
from kdrecon.training.loop import gradient_norms
from kdrecon.training.objectives import Distillation

SEEDS, BATCHES, BATCH_SIZE = 5, 4, 4
EPOCH = 4  # batches that a method sees which has something to learn before the student


class SharedPasses(Distillation):
    """Distillation on one batch, with forward passes that all methods share."""

    def __init__(self, passes: dict, *arguments, **switches):
        super().__init__(*arguments, **switches)
        self.passes = passes

    def _reconstruct(self, model, batch, layers):
        x, maps = self.passes[model]
        return x, select(self.method.taps, maps, layers)


def starts(teacher, lab: Laboratory) -> pd.DataFrame:
    """A row a method and start: loss terms and ratio of gradients of a random student on a random batch.

    All methods see the same students and batches.
    """
    teacher.requires_grad_(False)
    rows, maps = [], [(form, key) for form, methods in FORMS.items() for key in methods]
    for seed in range(SEEDS):
        torch.manual_seed(seed)
        for _ in range(BATCHES):
            student, batch = dc_cnn("D3C5"), lab.train.batch(torch.randperm(len(lab.train))[:BATCH_SIZE])
            passes = {model: model.features(batch.x_u, batch.y, batch.mask) for model in (student, teacher)}
            for form, key in maps:
                objective = SharedPasses(passes, student, teacher, key, kd_form=form)
                objective.prepare(batch, [batch] * EPOCH)
                norms = gradient_norms(objective, batch)
                with torch.no_grad():
                    terms = {name: float(term) for name, term in objective(batch).terms.items()}
                row = {"form": form, "method": key, "weight": objective.method.weight, **terms}
                rows.append(row | {"ratio": norms["distillation"] / norms["reconstruction"]})
    return pd.DataFrame(rows)


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        lab = Laboratory(run_root=folder, device="cpu")
        teachers = {"standard": lab.teacher().model, "sft": lab.sft_teacher().model}
    found = pd.concat({name: starts(teacher, lab) for name, teacher in teachers.items()}, names=["teacher"])
    groups = found.groupby(["form", "method", "teacher"], sort=False)
    table = groups[["weight", "reconstruction", "distillation"]].mean()
    table["ratio"] = groups.ratio.agg(lambda ratios: np.exp(np.log(ratios).mean()))
    table["smallest"], table["largest"] = groups.ratio.min(), groups.ratio.max()
    table["weight for 1/2"] = table.weight / (2 * table.ratio)
    print(
        f"D3C5 students, batch {BATCH_SIZE}, {SEEDS} seeds x {BATCHES} batches: mean loss terms, geometric mean of ratios"
    )
    print(table.reset_index().to_string(index=False, float_format="{:.2g}".format))


if __name__ == "__main__":
    main()
