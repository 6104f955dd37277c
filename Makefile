# crosslabel: make demo shows it, make test proves it. Each does its own set-up in .venv.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
DEMO   := demo
STAMP  := $(VENV)/.installed
JOBS   ?= auto

.PHONY: help setup demo test lint types bench clean

help:
	@echo "make demo    simulate a survey, run the whole pipeline on it, print the comparison"
	@echo "make test    lint, types, import contracts and the whole test suite"
	@echo "make bench   benchmarks, side by side with their rivals"
	@echo "make setup   only make $(VENV)"

setup: $(STAMP)

$(STAMP): pyproject.toml requirements/runtime.txt requirements/dev.txt scripts/setup
	@PYTHON="$(PYTHON)" sh scripts/setup $(VENV)
	@touch $@

demo: setup
	@PATH="$(CURDIR)/$(BIN):$$PATH" sh scripts/demo $(DEMO)

test: setup lint types
	$(BIN)/python -m pytest -q --durations=15 -n $(JOBS) --dist worksteal

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports

types: setup
	$(BIN)/mypy

bench: setup
	$(BIN)/python -m benchmarks

clean:
	rm -rf $(VENV) $(DEMO) build *.egg-info .pytest_cache .mypy_cache .ruff_cache
