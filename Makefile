# Everything works on a fresh machine that has Python 3.11 or newer and make; the rest is installed into .venv, and for
# the oldest Airflow that we support into .venv-3.1.

PYTHON := $(shell for python in python3.11 python3; do \
	"$$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo "$$python" && break; done)
BIN := .venv/bin
CONSTRAINTS := constraints/airflow-3.3.txt
INSTALLED := .venv/.installed
OLDEST := .venv-3.1
OLDEST_CONSTRAINTS := constraints/airflow-3.1.txt
# Tests run side by side, one more at a time than there are processors: those with real Airflow processes are all one
# worker's, one after another, and wait more than they work.
SIDE_BY_SIDE := -n $(shell "$(PYTHON)" -c 'import os; print(1 + min(4, os.cpu_count() or 1))' 2>/dev/null)

.PHONY: help demo test test-all check docs bench node-sdk clean
.DEFAULT_GOAL := help

help:
	@echo "make demo         run the example DAG on a real Airflow, against an offline Magic Hour, for no credits"
	@echo "make demo KEEP=1  the same, and leave Airflow's UI up until Ctrl-C"
	@echo "make test         all tests, also those that run real Airflow processes"
	@echo "make test-all     the same, the tests that take minutes, and once more on Airflow 3.1"
	@echo "make check        formatting, lint, types, generated files, the import rule and the documentation"
	@echo "make docs         the documentation, into docs/_build/html"
	@echo "make bench        the benchmarks"
	@echo "make node-sdk     the official Node SDK, from npm, against the simulator; needs Node.js"
	@echo "make clean        remove what demos and tests left; the environment stays"

# Made anew only when what it is made from changes.
$(INSTALLED): pyproject.toml $(CONSTRAINTS)
	@test -n "$(PYTHON)" || { echo "This needs Python 3.11 or newer, as python3.11 or python3." >&2; exit 1; }
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	test -x $(BIN)/uv || $(BIN)/python -m pip install --quiet --disable-pip-version-check uv
	$(BIN)/uv pip install --quiet --python $(BIN)/python -c $(CONSTRAINTS) -e '.[simulator]' --group dev --group docs
	@touch $@

$(OLDEST)/.installed: pyproject.toml $(OLDEST_CONSTRAINTS) | $(INSTALLED)
	test -x $(OLDEST)/bin/python || $(PYTHON) -m venv $(OLDEST)
	$(BIN)/uv pip install --quiet --python $(OLDEST)/bin/python -c $(OLDEST_CONSTRAINTS) -e '.[simulator]' --group dev
	@touch $@

demo: $(INSTALLED)
	@$(BIN)/python scripts/demo.py $(if $(KEEP),--keep)

test: $(INSTALLED)
	$(BIN)/python -m pytest $(SIDE_BY_SIDE) -m "not long" --durations=20

# Of the system tests the whole chain, which has a worker killed and the storage ledger outlive it, two triggerers, the
# webhooks and the Media tab.
test-all: test $(OLDEST)/.installed
	$(BIN)/python -m pytest -m long --durations=10
	$(OLDEST)/bin/python -m pytest $(SIDE_BY_SIDE) -m "not system and not long"
	$(OLDEST)/bin/python -m pytest $(addprefix tests/system/test_,backbone.py tab.py waiting.py webhooks.py)

check: $(INSTALLED) docs
	$(BIN)/ruff format --check
	$(BIN)/ruff check
	$(BIN)/mypy
	$(BIN)/python scripts/sync_api.py --check
	@if grep -rnE --include='*.py' '^\s*(import|from) airflow' $(addprefix provider/magic_hour_provider/,api polling simulator clock.py times.py); \
	then echo "api, polling and simulator must not import Airflow." >&2; exit 1; fi

# A warning is an error. Nothing is fetched from anywhere.
docs: $(INSTALLED)
	$(BIN)/python -m sphinx --fail-on-warning --keep-going --nitpicky --jobs 2 --quiet docs docs/_build/html
	@echo "docs/_build/html/index.html"

bench: $(INSTALLED)
	@$(BIN)/uv pip install --quiet --python $(BIN)/python -c $(CONSTRAINTS) --group bench
	@missed=; for script in benchmarks/*.py; do \
		echo "== $$script"; $(BIN)/python "$$script" || missed="$$missed $$script"; done; \
	test -z "$$missed" || { echo "Missed a figure, or broke:$$missed" >&2; exit 1; }

# Not in CI: it installs the SDK from npm, into a temporary folder.
node-sdk: $(INSTALLED)
	@$(BIN)/python scripts/node_sdk.py

clean:
	rm -rf .demo .mypy_cache .pytest_cache .ruff_cache build dist docs/_build
	find . -name __pycache__ -not -path './.venv*' -prune -exec rm -rf {} +
