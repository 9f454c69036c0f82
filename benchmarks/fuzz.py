"""Damaged and hostile inputs: how many of each kind are read, refused in one line, or end as they should not.

    python benchmarks/fuzz.py [--inputs 10000] [--seed 0] [--kind DICOM] [--show 3]

The kinds and their mutations are those of tests/fuzzing.py. Each input runs in a process of its own, on Linux or macOS.
Exit status 1: there was a fault; the first ones of each kind are printed with what the command said.
"""

import argparse
import sys
import tempfile
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))
from fuzzing import FAULTS, KINDS, outcomes, table  # noqa: E402


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--inputs", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--kind", help="this kind alone")
    parser.add_argument("--show", type=int, default=3, help="faults of each kind to print")
    options = parser.parse_args()
    torch.set_num_threads(1)
    kinds = [kind for kind in KINDS if options.kind in (None, kind.name)]
    found = []
    with tempfile.TemporaryDirectory() as folder:
        for kind in kinds:
            faults = 0
            for outcome in outcomes(kind, -(-options.inputs // len(kinds)), Path(folder), options.seed):
                found.append(outcome)
                if outcome.ending in FAULTS and (faults := faults + 1) <= options.show:
                    print(
                        f"{outcome.kind} {outcome.number}, {outcome.mutation}: {outcome.ending}\n{outcome.text[-1500:]}\n"
                    )
            print(f"{kind.name}: done", file=sys.stderr)
    print(table(found))
    raise SystemExit(any(outcome.ending in FAULTS for outcome in found))


if __name__ == "__main__":
    main()
