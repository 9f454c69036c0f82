"""JupyterLab in a browser: a server of its own, with settings of its own, and a headless Chromium."""

import os
import shutil
import socket
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest
from selenium import webdriver
from selenium.webdriver.support.ui import WebDriverWait

CHROMIUM = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
SETTINGS = {
    "apputils-extension/notification": '{"fetchNews": "false", "checkForUpdates": false}',
    "notebook-extension/tracker": '{"windowingMode": "none"}',  # all cells are in the page, also those out of sight
}


def pytest_configure():
    if not (chromium() and shutil.which("chromedriver")):
        raise pytest.UsageError(
            "the browser tests did not run: they need Chromium and chromedriver, and found "
            f"{chromium() or 'no Chromium'} and {shutil.which('chromedriver') or 'no chromedriver'} on the PATH. "
            "On Debian or Ubuntu: apt install chromium chromium-driver"
        )


def chromium() -> str | None:
    """The Chromium or Chrome on the PATH."""
    return next(filter(None, map(shutil.which, CHROMIUM)), None)


@pytest.fixture(scope="session")
def lab(tmp_path_factory) -> tuple[str, Path]:
    """A JupyterLab server: its address, and the folder that it serves."""
    place, root = tmp_path_factory.mktemp("jupyter"), tmp_path_factory.mktemp("notebooks")
    for name, text in SETTINGS.items():
        path = place / "settings" / "@jupyterlab" / f"{name}.jupyterlab-settings"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    folders = {f"JUPYTER_{kind}_DIR": str(place / kind.lower()) for kind in ("CONFIG", "DATA", "RUNTIME")}
    environment = {k: v for k, v in os.environ.items() if k not in ("JUPYTER_PATH", "MPLBACKEND", "TQDM_DISABLE")}
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    options = [
        f"--ServerApp.root_dir={root}", f"--ServerApp.port={port}", "--ServerApp.port_retries=0", "--ServerApp.ip=127.0.0.1",
        "--ServerApp.open_browser=False", "--ServerApp.allow_root=True", "--IdentityProvider.token=",
        f"--LabApp.user_settings_dir={place / 'settings'}", f"--LabApp.workspaces_dir={place / 'workspaces'}",
        "--LabApp.expose_app_in_browser=True", "--LabApp.news_url=None",
    ]  # fmt: skip
    with open(place / "server.log", "w", encoding="utf-8") as log:
        server = subprocess.Popen(
            [sys.executable, "-m", "jupyterlab", *options], stdout=log, stderr=log, env=environment | folders
        )
        url = f"http://127.0.0.1:{port}"

        def answers(_):
            if server.poll() is not None:
                raise RuntimeError(
                    "JupyterLab did not start:\n" + (place / "server.log").read_text(encoding="utf-8")[-3000:]
                )
            return urllib.request.urlopen(f"{url}/api").status == 200

        try:
            WebDriverWait(None, 300, ignored_exceptions=[OSError]).until(answers)
            yield url, root
        finally:
            server.terminate()
            try:
                server.wait(60)
            except subprocess.TimeoutExpired:  # it waits for a kernel that does not end
                server.kill()


@pytest.fixture(scope="session")
def browser():
    """A headless Chromium."""
    options = webdriver.ChromeOptions()
    options.binary_location = chromium()
    for argument in ("headless=new", "no-sandbox", "disable-dev-shm-usage", "force-device-scale-factor=1"):
        options.add_argument(f"--{argument}")
    driver = webdriver.Chrome(options, webdriver.ChromeService(shutil.which("chromedriver")))
    driver.set_script_timeout(60)
    yield driver
    driver.quit()
