# The two commands: `make demo` (everything, on a generated Arctic) and `make test`. Each sets up what it needs.
# A Python of your choice: make demo PYTHON=python3.13
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
# uv leaves byte-compiling to the first import; without it every start takes twice as long.
unexport PYTHONDONTWRITEBYTECODE
export DAGSTER_DISABLE_TELEMETRY := yes
export MLFLOW_DISABLE_TELEMETRY := true
export STREAMLIT_BROWSER_GATHER_USAGE_STATS := false

.PHONY: help demo test test-all ui mlflow lint setup setup-dev clean
help:  ## this list
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

# Partitions side by side, each process with about a gigabyte; where it runs never changes a result.
PROCESSES := $(shell n=$$(getconf _NPROCESSORS_ONLN 2>/dev/null || echo 1); echo $$((n < 4 ? n : 4)))

demo: setup  ## set up and run the whole chain on a small generated Arctic
	@ENTROPICE_COMPUTE=$${ENTROPICE_COMPUTE:-processes:$(PROCESSES)} $(BIN)/entropice run --preset demo

test: setup-dev  ## set up and pass the tests
	@OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder -m "not nightly" $(ARGS)

test-all: setup-dev  ## the same with daemons, PostgreSQL, Dask workers that are killed: a quarter of an hour more
	@OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder $(ARGS)

ui: setup  ## the Dagster UI on the demo study, or on ENTROPICE_STUDY
	@$(BIN)/dg dev

mlflow: setup  ## the MLflow UI on the runs recorded so far
	@$(BIN)/python -m mlflow ui --backend-store-uri sqlite:///$${ENTROPICE_HOME:-.entropice}/mlflow.db

lint: setup-dev  ## style, types, import rules, doctests
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	@if [ -x $(BIN)/hadolint ]; then $(BIN)/hadolint deployment/Dockerfile; else echo "hadolint has no wheel for this machine: the Dockerfile was not looked at"; fi
	$(BIN)/python -m pytest -q --doctest-modules entropice_core -p no:cacheprovider

setup: $(VENV)/.installed  ## a virtual environment with what a user needs
setup-dev: $(VENV)/.installed-dev  ## the same with what a developer needs

$(BIN)/uv:
	@$(PYTHON) -c 'import sys; sys.exit(None if (3,11) <= sys.version_info < (3,14) else f"Entropice needs Python 3.11 to 3.13, {sys.executable} is {sys.version.split()[0]}: make demo PYTHON=/path/of/python3.12")'
	@echo "setting up $(VENV) (about a minute, once)"
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install -q --disable-pip-version-check uv

$(VENV)/.installed: $(BIN)/uv pyproject.toml constraints.txt
	@test -f $(VENV)/.installed-dev || VIRTUAL_ENV=$(VENV) $(BIN)/uv pip install -q -c constraints.txt -e .
	@touch $@

$(VENV)/.installed-dev: $(BIN)/uv pyproject.toml constraints.txt
	@VIRTUAL_ENV=$(VENV) $(BIN)/uv pip install -q -c constraints.txt -e ".[dev]"
	@touch $@ $(VENV)/.installed

clean:  ## remove the environment; the store in .entropice stays
	rm -rf $(VENV)
