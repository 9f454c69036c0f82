# make run: the whole course, headless. make check: style, types, notebooks as built; make test: that and the tests;
# make test-portable: their arithmetic as the simplest processor does it; make test-browser: the notebooks in a browser.
# make lab: the same notebooks in JupyterLab. make book: a run as a web site. make demo: the networks in a browser, needs npm.
VENV   := .venv
BIN    := $(VENV)/bin
PYTHON ?= python3
RUN    ?= runs/quick
PARAMS ?= params/quick.yaml
ARITHMETIC := checks data distillation distillation_interactive distillation_released distillation_training \
              distillation_values fidelity fourier metrics models released sampling sft training

.PHONY: run check test test-portable test-browser lab book demo venv notebooks handout ship sample clean

run: venv
	$(BIN)/kdrecon run --params params/quick.yaml

check: venv
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python lessons/build.py --check

test: check
	OMP_NUM_THREADS=1 PYTHONWARNDEFAULTENCODING=1 $(BIN)/python -m pytest --cov -n 2

test-portable: venv
	ONEDNN_MAX_CPU_ISA=SSE41 ATEN_CPU_CAPABILITY=default MKL_CBWR=COMPATIBLE OMP_NUM_THREADS=1 \
	    $(BIN)/python -m pytest $(ARITHMETIC:%=tests/test_%.py)

test-browser: venv
	$(BIN)/python -m pytest tests_browser

lab: venv
	$(BIN)/jupyter lab --ServerApp.root_dir=. notebooks/00_start_here.ipynb

book: venv
	test -e $(RUN)/notebooks/finished.json || $(BIN)/kdrecon run --params $(PARAMS) --out $(RUN)
	$(BIN)/python demo/build.py || echo "the book lacks the page in the browser"
	$(BIN)/python book/build.py $(RUN)

demo: venv
	$(BIN)/python demo/build.py

venv: $(VENV)/.installed

$(VENV)/.installed: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.version_info >= (3, 11) or sys.exit("Python 3.11 or newer is needed, this is " + sys.version.split()[0] + ": set PYTHON=python3.12, for example")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[data,deploy,dev,book,study]' -c constraints.txt
	@touch $@

notebooks: venv
	$(BIN)/python lessons/build.py

handout: venv
	$(BIN)/python lessons/handout.py

ship: venv
	$(BIN)/kdrecon ship

sample: venv
	$(BIN)/python -m data_prep sample
	$(BIN)/python -m data_prep people

clean:
	rm -rf $(VENV) runs *.egg-info .pytest_cache .ruff_cache .mypy_cache .coverage .hypothesis
