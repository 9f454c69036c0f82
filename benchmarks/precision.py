"""Whether training in bf16 costs quality: students trained in bf16 and in fp32, same seeds, all evaluated in fp32.

    python benchmarks/precision.py [--seeds 8] [--epochs 30] [--resolution 120] [--batch-size 4] [--lr 1e-3]

Two trainings of one seed that differ in rounding alone end at different weights. What that is worth shows in the standard
deviation over seeds of their difference; a loss by bf16 would show in the mean. On hardware without bf16 units the bf16
trainings are slow, but give the same numbers up to rounding.
"""

import argparse
import tempfile

import pandas as pd

from kdrecon import results
from kdrecon.runs.laboratory import Laboratory


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=8)
    parser.add_argument("--epochs", type=int, default=30)
    parser.add_argument("--resolution", type=int, default=120)
    parser.add_argument("--batch-size", type=int, default=4)
    parser.add_argument("--lr", type=float, default=1e-3)
    options = parser.parse_args()
    settings = {name: getattr(options, name) for name in ("epochs", "resolution", "batch_size", "lr")}
    rows = []
    for seed in range(options.seeds):
        row = {"seed": seed}
        for precision in ("fp32", "bf16"):
            with tempfile.TemporaryDirectory() as folder:
                lab = Laboratory(precision=precision, seed=seed, ready=False, run_root=folder, **settings)
                scores = results.evaluate(lab, lab.student())
            row |= {f"PSNR {precision} (dB)": scores.psnr.mean(), f"SSIM {precision}": scores.ssim.mean()}
        row["bf16 - fp32 (dB)"] = row["PSNR bf16 (dB)"] - row["PSNR fp32 (dB)"]
        rows.append(row)
        print(pd.DataFrame(rows).to_string(index=False, float_format="{:.4f}".format), flush=True)
    difference = pd.DataFrame(rows)["bf16 - fp32 (dB)"]
    p = lab.parameters
    print(
        f"D3C5 alone, {p.dataset} {p.acceleration}, {p.resolution} x {p.resolution}, {p.epochs} epochs, "
        f"batch {p.batch_size}, lr {p.lr}, {len(scores)} {lab.evaluation_split} slices, {lab.device.type}: bf16 - fp32 "
        f"{difference.mean():+.3f} dB on average, standard error {difference.sem():.3f} dB, standard deviation over "
        f"{len(rows)} seeds {difference.std():.3f} dB"
    )


if __name__ == "__main__":
    main()
