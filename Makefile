PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.PHONY: demo test bench results docs env

demo: env
	$(BIN)/python -m demo

test: env
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/pytest

bench: env
	$(BIN)/python -m benchmarks.kernel
	$(BIN)/python -m benchmarks.training
	$(BIN)/python -m benchmarks.loading
	$(BIN)/python -m benchmarks.extraction

# Into site/; `mkdocs serve` shows it while it is written.
docs: env
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

# JOIN: results or run folders that are to ship.
results: env
	$(BIN)/python -m papers np-rnn --page --results papers/results $(if $(JOIN),--join $(JOIN))
	cp papers-output/RESULTS.md RESULTS.md

env: $(VENV)/.ready

$(VENV)/.ready: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet -c constraints.txt -e ".[dev]"
	touch $@
