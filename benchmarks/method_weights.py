"""How strongly each distillation loss pulls: its size and its gradient beside those of the reconstruction loss, at the start.

The weights of the methods were chosen with this table so that the ratio of gradients is near one half for a random student
and a converged teacher trained alone; one constant a method, whatever teacher and first weights a run uses.

    python benchmarks/method_weights.py [METHOD ...]
"""

import sys
import tempfile

import numpy as np
import pandas as pd
import torch

from kdrecon.distillation import FORMS, METHODS
from kdrecon.laboratory import Laboratory
from kdrecon.models import dc_cnn
from kdrecon.objectives import Distillation
from kdrecon.training import gradient_norms

SEEDS, BATCHES, BATCH_SIZE = 5, 4, 4


def starts(key: str, form: str, teacher, lab: Laboratory) -> pd.DataFrame:
    """Loss terms and gradient norms at the first step, for random students and batches."""
    rows = []
    for seed in range(SEEDS):
        torch.manual_seed(seed)
        for _ in range(BATCHES):
            objective = Distillation(dc_cnn("D3C5"), teacher, key, kd_form=form)
            batch = lab.train.batch(torch.randperm(len(lab.train))[:BATCH_SIZE])
            objective.prepare(batch, lab.train.batches(BATCH_SIZE))
            norms = gradient_norms(objective, batch)
            with torch.no_grad():
                terms = {name: float(term) for name, term in objective(batch).terms.items()}
            rows.append({**terms, "ratio": norms["distillation"] / norms["reconstruction"]})
    return pd.DataFrame(rows)


def main(keys: list[str]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        lab = Laboratory(run_root=folder, device="cpu")
        teachers = {"standard": lab.teacher().model, "sft": lab.sft_teacher().model}
    rows = []
    for form, methods in FORMS.items():
        for key, method in methods.items():
            if not method.taps or (keys and key not in keys):
                continue
            for name, teacher in teachers.items():
                found = starts(key, form, teacher, lab)
                ratio = float(np.exp(np.log(found.ratio).mean()))
                rows.append(
                    {
                        "method": key,
                        "form": form,
                        "teacher": name,
                        "weight": method.weight,
                        "|x - x_S|": found.reconstruction.mean(),
                        "w L_KD": found.distillation.mean(),
                        "gradient ratio": ratio,
                        "smallest": found.ratio.min(),
                        "largest": found.ratio.max(),
                        "w for 1/2": method.weight / (2 * ratio),
                    }
                )
                print(key, form, name, f"{ratio:.2g}", file=sys.stderr, flush=True)
    print(f"D3C5 students, batch {BATCH_SIZE}, {SEEDS} seeds x {BATCHES} batches; ratios: geometric mean")
    print(pd.DataFrame(rows).to_string(index=False, float_format="{:.2g}".format))


if __name__ == "__main__":
    main([key for key in sys.argv[1:] if key in METHODS])
