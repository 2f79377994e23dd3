# `make demo` and `make test` do all of their set-up: a virtual environment in .venv, then what they need in it.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/pip install --quiet --constraint constraints.txt

# The environment has JAX for the CPU, and for testing compilers for TPU and GPU, which would look for one.
export JAX_PLATFORMS ?= cpu

.PHONY: demo test lint parity bench clean

demo: $(VENV)/.examples
	$(BIN)/python -m examples.digits

test: $(VENV)/.dev
	$(BIN)/python -m pytest -n logical

lint: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

parity: $(VENV)/.dev
	$(BIN)/python -m parity

bench: $(VENV)/.dev
	$(BIN)/python -m benchmarks --json out/benchmarks.json --page out/benchmarks.md

clean:
	rm -rf $(VENV) dist out

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.examples: pyproject.toml constraints.txt | $(VENV)/bin/python
	$(PIP) --editable '.[examples]'
	touch $@

# PyTorch comes first and pinned: an unpinned one, asked for by another package, may be another build.
$(VENV)/.dev: pyproject.toml constraints.txt | $(VENV)/bin/python
	$(PIP) torch
	$(PIP) --editable '.[dev]'
	touch $@
