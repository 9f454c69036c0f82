"""The comparing figures draw what they are given; synthetic arrays, no window."""

import sys
from types import SimpleNamespace

import matplotlib
import numpy as np
import pandas as pd
import pytest
from test_comparisons import SFT_AT, STD_AT, write_network

matplotlib.use("Agg")


from kdrecon import (
    metrics,  # noqa: E402
    results,  # noqa: E402
)
from kdrecon.errors import InputError  # noqa: E402
from kdrecon.results import comparisons  # noqa: E402
from kdrecon.storage.places import project_root  # noqa: E402
from kdrecon.teaching import plots  # noqa: E402

RNG = np.random.default_rng(0)
METRICS = ("psnr", "ssim", "nmse", "mse", "hfn", "vif")


def texts(figure):
    figure.canvas.draw()
    return [text.get_text() for text in figure.findobj(matplotlib.text.Text) if text.get_text()]


def scores(psnr):
    return pd.DataFrame({name: np.full(4, 0.5) for name in METRICS} | {"psnr": psnr + np.arange(4.0)})


def network(epochs):
    return SimpleNamespace(experiment=SimpleNamespace(epochs=epochs))


def test_map_rows_share_one_scale():
    rows = {"teacher": RNG.random((3, 8, 9)), "student": 2 * RNG.random((3, 8, 9))}
    figure = plots.map_rows(rows, ["a", "b", "c"], "attention", cells={"student": ["1", "2", "3"]})
    images = [ax.images[0] for ax in figure.axes if ax.images and ax.get_label() != "<colorbar>"]
    assert len(images) == 6
    assert len({image.get_clim() for image in images}) == 1
    assert {"teacher", "student", "a", "b", "c", "attention", "2"} <= set(texts(figure))


def test_matrix_pairs_share_a_scale_within_a_pair():
    low, high = np.zeros((4, 4)), np.ones((4, 4))
    figure = plots.matrix_pairs({"SP": (low, high), "CC": (high, 3 * high)}, "slice", "slice")
    limits = [ax.images[0].get_clim() for ax in figure.axes if ax.images]
    assert limits == [(0, 1), (0, 1), (1, 3), (1, 3)]


def test_validation_curves_draw_every_network():
    history = pd.DataFrame({"epoch": [1, 2], "validation_l1": [0.2, 0.1]})
    figure = plots.validation_curves({"student": history, "Std-KD AT": history / 2})
    lines = {line.get_label(): list(line.get_ydata()) for line in figure.axes[0].lines}
    assert lines == {"student": [0.2, 0.1], "Std-KD AT": [0.1, 0.05]}


def test_unfolding_draws_what_passes():
    passes = np.array([[False, True, True], [False, False, True]])
    drawn = texts(plots.unfolding(passes, "D5C3", "D3C3"))
    assert [drawn.count(name) for name in ("T1", "T2", "T3", "S1", "S2", "S3")] == [1, 1, 1, 0, 1, 2]
    assert "in no branch: S1" in drawn


def test_block_gradients_label_a_block_without_gradient():
    drawn = texts(plots.block_gradients([1e-3, 1e-2], [0.0, 1e-2]))
    assert drawn.count("none") == 1
    assert "1.0e-03" in drawn


def test_comparison_shows_psnr_and_residues_on_one_scale():
    target = RNG.random((24, 20))
    images = {
        name: target + s * RNG.standard_normal(target.shape) for name, s in (("zero-filled", 0.2), ("student", 0.1))
    }
    figure = plots.comparison(target, images)
    residues = [ax.images[0] for ax in figure.axes if ax.images and ax.images[0].get_cmap().name == "magma"]
    assert len({image.get_clim() for image in residues}) == 1
    np.testing.assert_allclose(residues[1].get_array(), abs(target - images["student"]))
    assert f"student\n{metrics.psnr(target, images['student']):.2f} dB" in texts(figure)


def test_comparison_zooms_where_the_first_reconstruction_errs_most():
    target = RNG.random((32, 32))
    image = target.copy()
    image[15:23, 10:18] += 1
    figure = plots.comparison(target, {"zero-filled": image})
    frame = figure.axes[0].patches[0]
    assert (frame.get_x(), frame.get_y(), frame.get_width()) == (9.5, 14.5, 8)


def test_comparison_of_equal_images():
    plots.comparison(np.ones((16, 16)), {"teacher": np.ones((16, 16)) - 1e-3})


def test_box_plots_draw_a_box_a_network():
    figure = plots.box_plots({"teacher": scores(30.0), "Std-KD AT": scores(29.0)}, reference="teacher")
    assert "minus that of the teacher" in figure.axes[1].get_xlabel()
    assert [len(ax.patches) for ax in figure.axes] == [2, 2]
    assert [label.get_text() for label in figure.axes[0].get_yticklabels()] == ["teacher", "Std-KD AT"]


def test_metric_boxes_draw_a_panel_a_metric_and_say_which_end_is_better():
    figure = plots.metric_boxes({"teacher": scores(30.0), "SFT-KD AT": scores(29.0)}, ("ssim", "mse"))
    said = ["SSIM per slice, higher is better", "MSE per slice, lower is better"]
    assert [ax.get_xlabel() for ax in figure.axes] == said and [len(ax.patches) for ax in figure.axes] == [2, 2]
    assert [label.get_text() for label in figure.axes[0].get_yticklabels()] == ["teacher", "SFT-KD AT"]


def test_gains_fill_the_markers_of_what_is_shown():
    rows = [("12", "Std-KD AT", -0.1, -0.5, 0.3, "not shown"), ("50", "Std-KD AT", 0.4, 0.1, 0.7, "better")]
    rows += [("12", "SFT-KD AT", -0.6, -0.9, -0.3, "worse")]
    panel = pd.DataFrame(rows, columns=["x", "name", "difference", "low", "high", "verdict"])
    figure = plots.gains({"epochs": panel, "slices": panel[:1]})
    first, second = figure.axes
    assert (first.get_title(), [label.get_text() for label in first.get_xticklabels()]) == ("epochs", ["12", "50"])
    points = {(line.get_ydata()[0], line.get_markerfacecolor()) for line in first.lines if line.get_marker() != "None"}
    assert points == {(-0.1, "white"), (0.4, plots.COLOURS["Std-KD"]), (-0.6, plots.COLOURS["SFT-KD"])}
    intervals = {tuple(line.get_ydata()) for line in first.lines if line.get_marker() == "None"}
    assert {(-0.5, 0.3), (0.1, 0.7), (-0.9, -0.3)} <= intervals and first.get_ylim() == second.get_ylim()
    assert {"Std-KD AT", "SFT-KD AT", "hollow: not shown"} <= set(texts(figure))


def test_people_are_drawn_a_row_each():
    gaps = pd.DataFrame({"D3C5": [0.5, -0.1], "D2C5": [1.5, 0.2]}, ["ann", "bob"])
    (ax,) = plots.people(gaps, "teacher").axes
    drawn = {dots.get_label(): dots.get_offsets().tolist() for dots in ax.collections if dots.get_label() in gaps}
    assert drawn == {"D3C5": [[0.5, 0], [-0.1, 1]], "D2C5": [[1.5, 0], [0.2, 1]]}
    assert [label.get_text() for label in ax.get_yticklabels()] == ["ann", "bob"] and ax.yaxis_inverted()


def test_rankings_are_relative_to_the_reference_under_each_condition():
    table = pd.DataFrame({"student": [30.0, 28.0], "teacher": [31.0, 27.5]}, ["4x", "5x"])
    (ax,) = plots.rankings(table, "student").axes
    assert {line.get_label(): list(line.get_ydata()) for line in ax.lines} == {"student": [0, 0], "teacher": [1, -0.5]}
    assert [label.get_text() for label in ax.get_xticklabels()] == ["4x\n30.0 dB", "5x\n28.0 dB"]


def test_distillation_gains_name_the_methods():
    figure = plots.distillation_gains({"AT": 30.0, "SP": 30.5}, {"AT": 31.0, "SP": 30.2}, {"student": 29.9})
    assert [label.get_text() for label in figure.axes[0].get_yticklabels()] == ["AT", "SP"]
    assert {"Std-KD", "SFT-KD", "student"} <= set(texts(figure))


def test_quality_table_compares_equal_epochs_only():
    networks = {
        "zero-filled": network(0),
        "teacher": network(150),
        "student": network(12),
        "Std-KD AT": network(12),
    }
    tables = {name: scores(psnr) for name, psnr in zip(networks, (20.0, 33.0, 30.0, 30.25))}
    table = results.quality_table(networks, tables, reference="student")
    assert list(table["PSNR minus student (dB)"]) == ["-10.00", "other epochs", "", "+0.25"]
    assert table.loc["student", "PSNR (dB)"] == "31.50 ± 1.29"
    assert list(table["epochs"]) == ["-", "150", "12", "12"]


def test_epochs_note():
    equal = {"zero-filled": network(0), "teacher": network(12), "student": network(12)}
    assert results.epochs_note(equal) == "All networks: 12 epochs."
    note = results.epochs_note(equal | {"SFT teacher": network(150)})
    assert "only rows with equal epochs compare" in note
    assert "150 epochs: SFT teacher" in note


def test_method_names():
    assert [results.method_name(key) for key in ("at", "fitnets")] == ["AT", "FitNets"]


def test_curves_of_a_difference_over_epochs(tmp_path):
    """A difference of 0.1 dB after 12 epochs and of 0.3 after 24, each against the student of as many."""
    networks = {"student": {}, "Std": STD_AT, "SFT": SFT_AT, "control": {"role": "control", "epochs": 48}}
    gains = {12: {"Std": 0.1, "SFT": 0.5}, 24: {"Std": 0.3, "SFT": 0.2}}
    for seed in (0, 1, 2):
        for epochs, gain in gains.items():
            for name, settings in networks.items():
                if name == "control" and epochs == 24:
                    continue
                write_network(tmp_path, gain.get(name, 0.0), **{"epochs": epochs, "seed": seed} | settings)
    compared = comparisons.write_comparisons(tmp_path)
    for table in (compared, pd.read_csv(tmp_path / "comparisons.csv")):
        (ax,) = plots.effect_curves(table).axes
        curves = {bars.get_label(): bars for bars in ax.containers}
        assert set(curves) == {"Std-KD AT", "SFT-KD AT"}
        for name, key in (("Std-KD AT", "Std"), ("SFT-KD AT", "SFT")):
            line, _, (bars,) = curves[name]
            assert line.get_ydata() == pytest.approx([gains[12][key], gains[24][key]], abs=0.03)
            assert len(bars.get_segments()) == 2 and all(low < high for (_, low), (_, high) in bars.get_segments())
    with pytest.raises(InputError, match="no network with a difference to 'std-kd' has several numbers of epochs"):
        plots.effect_curves(compared[compared.epochs == 12], "std-kd")


def test_a_student_trained_for_as_long_as_its_teacher_ends_the_curve_below_that_teacher(tmp_path):
    for seed in (0, 1, 2):
        for epochs in (12, 24):
            write_network(tmp_path, seed=seed, epochs=epochs)
        write_network(tmp_path, 0.4, **{"epochs": 12, "teacher_epochs": 24, "seed": seed} | STD_AT)
        write_network(tmp_path, 0.3, **{"epochs": 24, "seed": seed} | STD_AT)
    (ax,) = plots.effect_curves(comparisons.comparisons(tmp_path)).axes
    ((line, _, _),) = ax.containers
    assert line.get_ydata() == pytest.approx([0.4, 0.3], abs=0.03)


def test_the_picture_that_readme_opens_with_shows_two_students_of_one_study(tmp_path):
    sys.path.insert(0, str(project_root() / "lessons"))
    import picture

    panels = picture.panels()
    teacher, student = (panel.set_index("name").difference for panel in panels.values())
    assert teacher["teacher"] == pytest.approx(0.791, abs=1e-3) and student["teacher"] == pytest.approx(0.383, abs=1e-3)
    figure = plots.differences(panels)
    assert {"Std-KD AT", "student, trained 7 times as long", *panels} <= set(texts(figure))
    left, right = figure.axes
    assert left.get_xlim() == right.get_xlim()
    dots = [line for line in left.lines if line.get_marker() == "o"]
    assert [dot.get_color() for dot in dots[:1]] == [plots.COLOURS["teacher"]] and len(dots) == len(teacher)
