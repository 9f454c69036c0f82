"""Every notebook in JupyterLab, as a reader meets it: run all, no error; move the sliders, and the figures follow.

Copies with the smallest parameters that the ready networks fit are opened, each in a run folder of its own, as by somebody
who opens it alone. Screenshots of the whole notebooks are left in tests_browser/screenshots/.
"""

import base64
import hashlib
import json
from contextlib import suppress
from pathlib import Path

import nbformat
import papermill
import pytest
from selenium.common.exceptions import StaleElementReferenceException
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import WebDriverWait

from kdrecon.app.batch import injected
from kdrecon.storage.places import project_root

NOTEBOOKS = sorted((project_root() / "notebooks").glob("[0-9]*.ipynb"))
READY = json.loads(next((project_root() / "kdrecon" / "weights").glob("*.json")).read_text(encoding="utf-8"))["config"]
PARAMETERS = {
    "resolution": READY["resolution"], "acceleration": READY["acceleration"],
    "epochs": 1, "batch_size": 8, "methods": ["at"], "device": "cpu", "ready": True,
}  # fmt: skip
EXPLORERS = {"01": 2, "02": 1, "03": 1, "06": 1}
SCREENSHOTS = Path(__file__).parent / "screenshots"
PAGE = 3000  # pixels of a screenshot's height

TRAINING = """
from kdrecon.runs import Laboratory
from kdrecon.teaching import live
lab = Laboratory(epochs=10, resolution=64, device="cpu", ready=False, run_root="{run_root}", listeners=[live.curve])
lab.student();
"""
TWO_TRAININGS = """
from kdrecon.runs import Laboratory
lab = Laboratory(epochs=6, resolution=64, device="cpu", ready=False, run_root="{run_root}", jobs=2)
lab.networks([lab.experiment("teacher"), lab.experiment("student")]);
"""

NOTEBOOK = "const notebook = window.jupyterapp?.shell.currentWidget;"
OPEN = NOTEBOOK + "return notebook?.context?.path === arguments[0] && notebook.sessionContext.session?.kernel?.status"
RUN = """
window.finished = false;
window.jupyterapp.commands.execute("notebook:run-all-cells").finally(() => { window.finished = true; });
"""
CELLS = NOTEBOOK + "return Array.from(notebook.content.model.cells).map(cell => cell.toJSON())"
CLOSE = (
    NOTEBOOK
    + """
const done = arguments[0];
notebook.sessionContext.shutdown().then(() => notebook.context.save()).then(() => { notebook.close(); done(); });
"""
)
PICTURE = """
const done = arguments[1];
fetch(arguments[0].querySelector("img").src).then(r => r.arrayBuffer()).then(
    buffer => done(Array.from(new Uint8Array(buffer)))).catch(() => done(null));
"""

BOTTOM = """
const cells = arguments[0].querySelectorAll(".jp-Cell");
return cells[cells.length - 1].getBoundingClientRect().bottom - cells[0].getBoundingClientRect().top;
"""


@pytest.fixture(scope="module")
def run_root(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("run")


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebook(path, lab, browser, run_root):
    url, root = lab
    papermill.execute_notebook(
        path, root / path.name, injected(path, PARAMETERS | {"run_root": str(run_root / path.stem)}),
        prepare_only=True, kernel_name="python3", progress_bar=False,
    )  # fmt: skip
    resize(browser, 1280, 1000)
    browser.get(f"{url}/lab/tree/{path.name}?reset")
    wait(browser, 300).until(lambda _: browser.execute_script(OPEN, path.name) == "idle", "no kernel")
    browser.execute_script(RUN)
    bars = set()
    wait(browser, 900).until(lambda _: finished(browser, bars), "the notebook did not finish")
    wait(browser, 120).until(lambda _: browser.execute_script(OPEN, path.name) == "idle", "the kernel is not idle")

    cells = [cell for cell in browser.execute_script(CELLS) if cell["cell_type"] == "code"]
    errors = [output for cell in cells for output in cell["outputs"] if output["output_type"] == "error"]
    assert not errors, "\n".join(errors[0]["traceback"])
    assert all(cell["execution_count"] for cell in cells if "".join(cell["source"]).strip()), "a cell did not run"
    texts = [element.text for element in browser.find_elements(By.CSS_SELECTOR, ".jp-RenderedText")]
    assert not [text for text in texts if "(children=" in text], "a widget shows as text"

    assert bars or not path.name.startswith("02"), "a training without a progress bar"

    explorers = browser.find_elements(By.CSS_SELECTOR, ".kdrecon-explorer")
    assert len(explorers) == EXPLORERS.get(path.name[:2], 0)
    screenshots(browser, path.stem)
    for explorer in explorers:
        move_every_slider(browser, explorer)
    browser.execute_async_script(CLOSE)


def run_cell(source: str, name: str, lab, browser) -> None:
    """A notebook of one cell, opened and started."""
    url, root = lab
    kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source)], metadata=kernel)
    nbformat.write(notebook, root / name)
    resize(browser, 1280, 800)
    browser.get(f"{url}/lab/tree/{name}?reset")
    wait(browser, 300).until(lambda _: browser.execute_script(OPEN, name) == "idle", "no kernel")
    browser.execute_script(RUN)


def test_two_trainings_show_a_bar_each_while_they_run(lab, browser, tmp_path):
    """From one call of one cell; each bar has the name of its network, and goes when that is trained."""
    run_cell(TWO_TRAININGS.format(run_root=tmp_path), "two_trainings.ipynb", lab, browser)

    def seen(_):
        with suppress(StaleElementReferenceException):
            lines = [
                " ".join(bar.text.split())
                for bar in browser.find_elements(By.CSS_SELECTOR, ".jp-OutputArea .widget-hbox")
            ]
            return {name for name in ("D5C5 teacher", "D2C5 student") for line in lines if line.startswith(name)}

    SCREENSHOTS.mkdir(exist_ok=True)
    wait(browser, 300).until(lambda driver: len(seen(driver) or ()) == 2, "two bars were never there at once")
    (SCREENSHOTS / "two-bars.png").write_bytes(browser.get_screenshot_as_png())
    wait(browser, 300).until(lambda _: browser.execute_script("return window.finished"), "the trainings did not finish")
    said = browser.find_element(By.CSS_SELECTOR, ".jp-OutputArea").text
    assert said.count("trained, 6 epochs") == 2 and not seen(browser)
    browser.execute_async_script(CLOSE)


def test_a_training_shows_its_curve_while_it_runs(lab, browser, run_root):
    run_cell(TRAINING.format(run_root=run_root), "training.ipynb", lab, browser)
    curves = set()

    def seen(_):
        drawn = browser.find_elements(By.CSS_SELECTOR, ".jp-RenderedImage img")
        with suppress(StaleElementReferenceException):
            curves.update(element.get_attribute("src") for element in drawn)
        if len(curves) == 3:
            (SCREENSHOTS / "live-curve.png").write_bytes(browser.get_screenshot_as_png())
        return len(curves) > 3

    SCREENSHOTS.mkdir(exist_ok=True)
    wait(browser, 300).until(seen, "the curve did not grow with the epochs")
    wait(browser, 300).until(lambda _: browser.execute_script("return window.finished"), "the training did not finish")
    assert not browser.find_elements(By.CSS_SELECTOR, ".jp-RenderedImage img"), "the curve stays after the training"
    browser.execute_async_script(CLOSE)


def finished(browser, bars: set) -> bool:
    """Whether all cells have run; notes the progress bars that are in the page meanwhile."""
    bars.update(element.id for element in browser.find_elements(By.CSS_SELECTOR, ".widget-hprogress"))
    return browser.execute_script("return window.finished")


def move_every_slider(browser, explorer) -> None:
    """Move each slider of an explorer by a step with the keyboard, and wait for another picture after each."""
    handles = explorer.find_elements(By.CSS_SELECTOR, ".noUi-handle")
    assert handles, "an explorer without a slider"
    for handle in handles:
        before = picture(browser, explorer)
        assert before, "an explorer without a picture"
        at_end = handle.get_attribute("aria-valuenow") == handle.get_attribute("aria-valuemax")
        handle.send_keys(Keys.ARROW_LEFT if at_end else Keys.ARROW_RIGHT)
        shows_another = lambda _, before=before: picture(browser, explorer) not in (None, before)  # noqa: E731
        wait(browser, 60).until(shows_another, "the picture did not change")


def picture(browser, explorer) -> str | None:
    """Digest of the PNG that an explorer shows; None while it is being replaced."""
    content = browser.execute_async_script(PICTURE, explorer)
    return content and hashlib.sha256(bytes(content)).hexdigest()


def screenshots(browser, name: str) -> None:
    """The whole notebook, in pages from top to bottom, in a narrow and in a wide window."""
    SCREENSHOTS.mkdir(exist_ok=True)
    for old in SCREENSHOTS.glob(f"{name}-*.png"):
        old.unlink()
    panel = browser.find_element(By.CSS_SELECTOR, ".jp-NotebookPanel-notebook .jp-WindowedPanel-outer")
    for width in (1280, 1920):
        resize(browser, width, PAGE)
        wait(browser, 30).until(
            lambda _: int(panel.get_property("clientHeight")) > 0.9 * PAGE, "the window did not grow"
        )
        shown, whole = int(panel.get_property("clientHeight")), int(browser.execute_script(BOTTOM, panel))
        for number, top in enumerate(range(0, whole, shown), 1):
            browser.execute_script("arguments[0].scrollTop = arguments[1]", panel, top)
            shot = browser.execute_cdp_cmd("Page.captureScreenshot", {"format": "png"})
            (SCREENSHOTS / f"{name}-{width}-{number}.png").write_bytes(base64.b64decode(shot["data"]))


def resize(browser, width: int, height: int) -> None:
    size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)


def wait(browser, seconds: int) -> WebDriverWait:
    return WebDriverWait(browser, seconds, poll_frequency=0.3)
