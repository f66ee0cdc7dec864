# Everything that a person or the CI runs. `make` alone lists the targets.

PYTHON ?= python3
SUITE = quick
RUN_DIR = runs/$(SUITE)

VENV = .venv
BIN = $(VENV)/bin
FOLDERS = gqn_transfer envs agents benchmarks
PYTEST = $(BIN)/python -m pytest
PARALLEL = -n auto --maxprocesses 4 --dist loadfile
PIP_INSTALL = $(BIN)/python -m pip install -qq --disable-pip-version-check -c constraints.txt

# Stamps: each is touched when its step is done and repeated only when what it depends on changes.
INSTALLED = $(VENV)/.installed
DEV_INSTALLED = $(VENV)/.dev-installed
GL_READY = $(VENV)/.gl-ready

.DEFAULT_GOAL = help
.DELETE_ON_ERROR:
.PHONY: help setup bench reproduce test test-all check lint format typecheck wheel clean

help: ## list these targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "make %-10s %s\n", $$1, $$2}' $(firstword $(MAKEFILE_LIST))

setup: $(INSTALLED) $(GL_READY) ## create .venv, install the package editable, make sure that GL can render

bench: setup ## run the quick suite and write its report (another one: make bench SUITE=name)
	$(BIN)/gqn-bench run $(SUITE) --out $(RUN_DIR)
	$(BIN)/gqn-bench report $(RUN_DIR)

reproduce: setup ## the comparison with raw pixels on Reach, fixed camera; says first how long it takes
	$(BIN)/gqn-bench run raw-pixels-a --cameras fixed --out runs/raw-pixels-a
	$(BIN)/gqn-bench report runs/raw-pixels-a

test: setup ## run the tests, without the slow ones
	$(PYTEST) $(PARALLEL)

test-all: setup ## run all tests
	$(PYTEST) $(PARALLEL) -m ''

check: lint typecheck ## lint, format, types and the direction of imports
	$(PYTEST) -q tests/test_layout.py

lint: $(DEV_INSTALLED) ## lint, and check the format
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

format: $(DEV_INSTALLED) ## sort imports, fix what ruff can fix, format
	$(BIN)/ruff check --fix-only .
	$(BIN)/ruff format .

typecheck: $(DEV_INSTALLED) ## type check the package as it installs
	scripts/typecheck.sh $(BIN)/python $(FOLDERS)

wheel: $(DEV_INSTALLED) $(GL_READY) ## build sdist and wheel, check the contents, try the wheel in a clean environment
	rm -rf dist
	$(BIN)/python -m build --quiet --outdir dist .
	$(BIN)/python scripts/check_wheel.py dist

clean: ## remove what was built; keeps .venv and runs
	rm -rf build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache

$(INSTALLED): pyproject.toml constraints.txt
	scripts/system_packages.sh venv $(PYTHON)
	test -x $(BIN)/pip || $(PYTHON) -m venv $(VENV)
	@echo "Installing into $(VENV); the first time this downloads PyTorch and takes a while."
	$(PIP_INSTALL) -e '.[test]'
	@touch $@

$(DEV_INSTALLED): $(INSTALLED)
	$(PIP_INSTALL) -e '.[dev]'
	@touch $@

$(GL_READY): $(INSTALLED)
	scripts/system_packages.sh gl $(BIN)/python
	@touch $@
