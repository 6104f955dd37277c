# crosslabel: make demo shows it, make test proves it. Each does its own set-up in .venv.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
DEMO   := demo
STAMP  := $(VENV)/.installed
JOBS   ?= auto
# Tests side by side, each with one thread for linear algebra: two that share a core wait for each other.
PYTEST := OPENBLAS_NUM_THREADS=1 $(BIN)/python -m pytest -q --durations=15 -n $(JOBS) --dist worksteal

.PHONY: help setup demo test test-all lint types bench clean

help:
	@echo "make demo      simulate a survey, run the whole pipeline on it, print the comparison"
	@echo "make test      lint, types, import contracts and the test suite (JOBS=N: so many at once)"
	@echo "make test-all  what make test leaves out: validators of exports, long fuzzing, a server given"
	@echo "               by URL, closed folders and another user, the wheel in a fresh environment,"
	@echo "               benchmarks with little data"
	@echo "make bench     benchmarks, side by side with their rivals"
	@echo "make setup     only make $(VENV)"

setup: $(STAMP)

$(STAMP): pyproject.toml requirements/runtime.txt requirements/dev.txt scripts/setup
	@PYTHON="$(PYTHON)" sh scripts/setup $(VENV)
	@touch $@

demo: setup
	@PATH="$(CURDIR)/$(BIN):$$PATH" sh scripts/demo $(DEMO)

test: setup lint types
	$(PYTEST)

test-all: setup
	$(PYTEST) -m full
	.ci/postgres
	.ci/folders
	.ci/wheel
	$(BIN)/python -m benchmarks --small

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports

types: setup
	$(BIN)/mypy

bench: setup
	$(BIN)/python -m benchmarks

clean:
	rm -rf $(VENV) $(DEMO) build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache
