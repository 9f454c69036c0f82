"""How long the explorers take to redraw: median and slowest of redraws after a change of settings, at 240 x 240.

    python benchmarks/widgets.py [--resolution 240] [--redraws 15]

The time runs from the new value of a control to the new PNG in the widget; what the browser adds is not in it. On a
machine that does other work too, the time on the clock is longer than the processor time, which is printed beside it.
"""

import argparse
import os
import statistics
import time

import torch

from kdrecon import results
from kdrecon.data.splits import Split, load_split
from kdrecon.models.dccnn import dc_cnn
from kdrecon.teaching import widgets


def explorers(resolution: int) -> dict[str, widgets.Explorer]:
    """Every explorer of the course on the sample, with untrained networks."""
    torch.manual_seed(0)
    slices = load_split(Split("sample", "test", "4x", resolution)).subset(4)
    networks = {"teacher": dc_cnn("D5C5"), "student": dc_cnn("D3C5")}
    reconstructions = {name: results.reconstruct(model, slices) for name, model in networks.items()}
    return {
        "undersampling explorer": widgets.undersampling_explorer(slices.x[0, 0]),
        "k-space brush": widgets.kspace_brush(slices.x[0, 0]),
        "cascade stepper": widgets.cascade_stepper(networks, slices.batch(torch.tensor([0]))),
        "attention viewer": widgets.attention_viewer(networks["teacher"], networks, slices),
        "reconstruction browser": widgets.reconstruction_browser(slices.x[:, 0].numpy(), reconstructions),
    }


def redraw_times(explorer: widgets.Explorer, redraws: int) -> list[tuple[float, float]]:
    """Milliseconds of redraws, on the clock and of the processor; each moves the next slider by a step. One warms up."""
    sliders = [
        control for control in explorer.controls.values() if hasattr(control, "step") and control.max > control.min
    ]
    times = []
    for i in range(redraws + 1):
        slider = sliders[i % len(sliders)]
        value = slider.value + slider.step if slider.value + slider.step <= slider.max else slider.min
        clock, processor = time.perf_counter(), time.process_time()
        slider.value = value
        times.append((1000 * (time.perf_counter() - clock), 1000 * (time.process_time() - processor)))
    return times[1:]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--resolution", type=int, default=240)
    parser.add_argument("--redraws", type=int, default=15)
    chosen = parser.parse_args()
    torch.set_num_threads(2)
    print(
        f"{chosen.resolution} x {chosen.resolution}, {torch.get_num_threads()} threads, load {os.getloadavg()[0]:.1f}"
    )
    for name, explorer in explorers(chosen.resolution).items():
        clock, processor = zip(*redraw_times(explorer, chosen.redraws))
        print(
            f"{name:24s} median {statistics.median(clock):4.0f} ms (processor {statistics.median(processor):4.0f} ms), "
            f"slowest {max(clock):4.0f} ms"
        )
