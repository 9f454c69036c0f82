"""The page of demo/ as it is written; tests_browser/ runs it."""

import importlib.util
import json
import re
import sys

import pytest

from kdrecon.errors import InputError
from kdrecon.storage.places import project_root

DEMO = project_root() / "demo"
OWN = sorted(path for pattern in ("*.html", "*.css", "*.js") for path in DEMO.glob(pattern))
ADDRESS = re.compile(r"""\w+://|["'(=]\s*//""")  # https://..., or "//..." without a scheme


@pytest.fixture
def demo():
    spec = importlib.util.spec_from_file_location("demo_build", DEMO / "build.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("path", OWN, ids=lambda path: path.name)
def test_its_own_files_name_no_outside_address(path):
    assert not ADDRESS.findall(path.read_text(encoding="utf-8"))


def test_every_file_that_a_page_names_is_built(demo):
    text = "".join(path.read_text(encoding="utf-8") for path in OWN)
    named = set(re.findall(r"""["'](?:\./)?([\w/.-]+\.(?:m?js|css|json|nii\.gz|txt))["']""", text))
    vendor = {f"vendor/{file.split('/')[-1]}" for files in demo.VENDOR.values() for file in files}
    made = {demo.ABOUT, "sample.nii.gz", "PROVENANCE.txt", "vendor/NOTICE.txt"}
    assert len(named) > 8 and named <= {path.name for path in OWN} | vendor | made


def test_packages_are_pinned_by_version_and_content_and_not_by_address():
    wanted = json.loads((DEMO / "package.json").read_text(encoding="utf-8"))["dependencies"]
    text = (DEMO / "package-lock.json").read_text(encoding="utf-8")
    locked = json.loads(text)["packages"]
    assert all(re.fullmatch(r"[\d.]+", version) for version in wanted.values()) and not ADDRESS.findall(text)
    assert {name: locked[f"node_modules/{name}"]["version"] for name in wanted} == wanted
    assert all("integrity" in package for name, package in locked.items() if name)


def test_without_npm_it_says_what_is_needed(demo, tmp_path, monkeypatch):
    (tmp_path / "package-lock.json").write_text("{}", encoding="utf-8")
    monkeypatch.setattr(demo, "DEMO", tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(InputError, match=r"npm is not on the PATH: expected it, .*; install Node\.js"):
        demo.build(tmp_path / "page")
    assert not (tmp_path / "page").exists()


def test_what_npm_cannot_fetch_is_said_in_a_line(demo, tmp_path, monkeypatch):
    (tmp_path / "package-lock.json").write_text("{}", encoding="utf-8")
    monkeypatch.setattr(demo, "DEMO", tmp_path)
    monkeypatch.setattr(demo.shutil, "which", lambda name: sys.executable)  # which has no command ci
    with pytest.raises(InputError, match=r"^npm ci did not fetch the packages \(.+\): expected .*$"):
        demo.fetched()


def test_a_folder_that_is_no_page_is_refused(demo, tmp_path):
    (tmp_path / "thesis.tex").write_text("years of work", encoding="utf-8")
    with pytest.raises(InputError, match="is there and is no demonstration: expected a free name"):
        demo.build(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]
