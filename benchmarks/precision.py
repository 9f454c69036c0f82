"""Whether training in bf16 costs quality: students trained in bf16 and in fp32, same seeds, all evaluated in fp32.

    python benchmarks/precision.py [--seeds 3] [--epochs 14] [--resolution 120]

On hardware without bf16 units the bf16 trainings are slow, but give the same numbers up to rounding.
"""

import argparse
import tempfile

import pandas as pd

from kdrecon import evaluation
from kdrecon.laboratory import Laboratory


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=14)
    parser.add_argument("--resolution", type=int, default=120)
    options = parser.parse_args()
    rows = []
    for seed in range(options.seeds):
        row = {"seed": seed}
        for precision in ("fp32", "bf16"):
            with tempfile.TemporaryDirectory() as folder:
                lab = Laboratory(
                    precision=precision, seed=seed, epochs=options.epochs, resolution=options.resolution,
                    ready=False, run_root=folder,
                )  # fmt: skip
                scores = evaluation.evaluate(lab, lab.student())
            row |= {f"PSNR {precision} (dB)": scores.psnr.mean(), f"SSIM {precision}": scores.ssim.mean()}
        row["bf16 - fp32 (dB)"] = row["PSNR bf16 (dB)"] - row["PSNR fp32 (dB)"]
        rows.append(row)
        print(pd.DataFrame(rows).to_string(index=False, float_format="{:.4f}".format), flush=True)
    difference = pd.DataFrame(rows)["bf16 - fp32 (dB)"]
    p = lab.parameters
    print(
        f"D3C5 alone, {p.dataset} {p.acceleration}, {p.resolution} x {p.resolution}, {p.epochs} epochs, "
        f"batch {p.batch_size}, lr {p.lr}, {len(scores)} {lab.evaluation_split} slices, {lab.device.type}: bf16 - fp32 "
        f"{difference.mean():+.3f} dB on average, standard deviation over {len(rows)} seeds {difference.std():.3f} dB"
    )


if __name__ == "__main__":
    main()
