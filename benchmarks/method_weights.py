"""How strongly each distillation loss pulls: its gradient beside that of the reconstruction loss, at the first step.

The weights of the methods were chosen with this table so that the ratio is near one half for a random student and a
converged teacher trained alone; one constant a method, whatever teacher and first weights a run uses.

    python benchmarks/method_weights.py
"""

import math
import tempfile

import pandas as pd
import torch

from kdrecon.distillation import METHODS
from kdrecon.experiments import STUDENT
from kdrecon.laboratory import Laboratory
from kdrecon.models import dc_cnn
from kdrecon.objectives import Distillation
from kdrecon.training import gradient_norms

SEEDS, BATCHES = 5, 4


def ratios(key: str, teacher, lab: Laboratory) -> list[float]:
    """Gradient norm of w L_KD over that of |x - x_S|_1, for random students and batches."""
    found = []
    for seed in range(SEEDS):
        torch.manual_seed(seed)
        for _ in range(BATCHES):
            objective = Distillation(dc_cnn(STUDENT), teacher, key)
            batch = lab.train.batch(torch.randperm(len(lab.train))[:4])
            objective.prepare(batch)
            norms = gradient_norms(objective, batch)
            found.append(norms["distillation"] / norms["reconstruction"])
    return found


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        lab = Laboratory(run_root=folder, device="cpu")
        teachers = {"standard": lab.teacher().model, "sft": lab.sft_teacher().model}
    rows = []
    for key, method in METHODS.items():
        for name, teacher in teachers.items():
            found = ratios(key, teacher, lab)
            middle = math.exp(sum(map(math.log, found)) / len(found))
            rows.append(
                {
                    "method": key,
                    "teacher": name,
                    "weight": method.weight,
                    "ratio": middle,
                    "smallest": min(found),
                    "largest": max(found),
                    "weight for 1/2": method.weight / (2 * middle),
                }
            )
    print(f"D3C5 students, batch 4, {SEEDS} seeds x {BATCHES} batches, geometric mean")
    print(pd.DataFrame(rows).to_string(index=False, float_format="{:.2g}".format))


if __name__ == "__main__":
    main()
