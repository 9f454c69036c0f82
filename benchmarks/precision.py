"""Whether training in 16 bits costs quality: students trained in them and in fp32, same seeds, all evaluated in fp32.

    python benchmarks/precision.py [--halves bf16 fp16] [--seeds 8] [--epochs 30] [--resolution 120] [--lr 3e-3]

Two trainings of one seed that differ in rounding alone end at different weights. What that is worth shows in the standard
deviation over seeds of their difference; a loss by fewer bits would show in the mean. On hardware without units for
them such trainings are slow, but give the same numbers up to rounding.
"""

import argparse
import tempfile

import pandas as pd

from kdrecon import results
from kdrecon.runs.laboratory import Laboratory


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--halves", nargs="+", choices=("bf16", "fp16"), default=["bf16"])
    parser.add_argument("--seeds", type=int, default=8)
    parser.add_argument("--epochs", type=int, default=30)
    parser.add_argument("--resolution", type=int, default=120)
    parser.add_argument("--batch-size", type=int, default=4)
    parser.add_argument("--lr", type=float, default=3e-3)
    options = parser.parse_args()
    settings = {name: getattr(options, name) for name in ("epochs", "resolution", "batch_size", "lr")}
    rows = []
    for seed in range(options.seeds):
        row = {"seed": seed}
        for precision in ("fp32", *options.halves):
            with tempfile.TemporaryDirectory() as folder:
                lab = Laboratory(precision=precision, seed=seed, ready=False, run_root=folder, **settings)
                scores = results.evaluate(lab, lab.student())
            row |= {f"PSNR {precision} (dB)": scores.psnr.mean(), f"SSIM {precision}": scores.ssim.mean()}
        for half in options.halves:
            row[f"{half} - fp32 (dB)"] = row[f"PSNR {half} (dB)"] - row["PSNR fp32 (dB)"]
        rows.append(row)
        print(pd.DataFrame(rows).to_string(index=False, float_format="{:.4f}".format), flush=True)
    p = lab.parameters
    print(
        f"{p.chosen.student_network} alone, preset {p.preset}, {p.dataset} {p.acceleration}, {p.resolution} px, "
        f"{p.epochs} epochs, batch {p.batch_size}, lr {p.lr} {p.lr_schedule}, augment {p.augment}, "
        f"{len(scores)} {lab.evaluation_split} slices, {lab.device.type}"
    )
    for half in options.halves:
        difference = pd.DataFrame(rows)[f"{half} - fp32 (dB)"]
        print(
            f"{half} - fp32 {difference.mean():+.3f} dB on average, standard error {difference.sem():.3f} dB, "
            f"standard deviation over {len(rows)} seeds {difference.std():.3f} dB"
        )


if __name__ == "__main__":
    main()
