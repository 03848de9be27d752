# make demo: the whole path on the bundled clips.   make test: format, lint, types, tests.
# Each does all of its own set-up in .venv, and does none of it twice.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# Of 2 GB each.
TEST_PROCESSES ?= 2
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check

.PHONY: demo test format lint types tests fix clean

demo: $(VENV)/.installed
	$(BIN)/ferbench demo -o demo-output

test: format lint types tests

format: $(VENV)/.installed-dev
	$(BIN)/ruff format --check .

lint: $(VENV)/.installed-dev
	$(BIN)/ruff check .

types: $(VENV)/.installed-dev
	$(BIN)/mypy

tests: $(VENV)/.installed-dev
	$(BIN)/python -m pytest -n $(TEST_PROCESSES) --dist loadfile --no-loadscope-reorder

fix: $(VENV)/.installed-dev
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit("ferbench needs Python 3.10 or newer, this is " + sys.version.split()[0] if sys.version_info < (3, 10) else 0)'
	@# Some distributions ship Python without ensurepip; virtualenv brings its own pip.
	$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); $(PYTHON) -m pip install --quiet --user virtualenv && $(PYTHON) -m virtualenv --quiet $(VENV); }

$(VENV)/.installed: setup.cfg pyproject.toml | $(BIN)/python
	@echo "installing ferbench and its dependencies into $(VENV); the first time this takes a few minutes"
	$(PIP) --editable .
	@touch $@

$(VENV)/.installed-dev: setup.cfg pyproject.toml | $(BIN)/python
	@echo "installing ferbench and what its tests need into $(VENV); the first time this takes a few minutes"
	$(PIP) --editable '.[dev]'
	@touch $@ $(VENV)/.installed

clean:
	rm -rf $(VENV) demo-output build *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis
