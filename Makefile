# Everything works on a fresh machine that has Python 3.11 or newer and make; the rest is installed into .venv, and for
# other versions of Airflow and Python into .venv-AIRFLOW-PYTHON.

PYTHON := $(shell for python in python3.11 python3; do \
	"$$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo "$$python" && break; done)
BIN := .venv/bin
CONSTRAINTS := constraints/airflow-3.3.txt
INSTALLED := .venv/.installed
# Tests run side by side, one more at a time than there are processors: those with real Airflow processes are two
# workers', one after another, and wait more than they work.
SIDE_BY_SIDE := -n $(shell "$(PYTHON)" -c 'import os; print(1 + min(4, os.cpu_count() or 1))' 2>/dev/null)

.PHONY: help demo test test-all test-on test-newest docs pictures bench soak node-sdk clean \
	check check-format check-lint check-types check-generated check-imports check-package check-workflows
.DEFAULT_GOAL := help

help:
	@echo "make demo         run the example DAG on a real Airflow, against an offline Magic Hour, for no credits"
	@echo "make demo KEEP=1  the same, and leave Airflow's UI up until Ctrl-C"
	@echo "make test         all tests, also those that run real Airflow processes"
	@echo "make test-all     the same, the tests that take minutes, and all on Airflow 3.1 to 3.3 and Python 3.11 to 3.13"
	@echo "make test-on AIRFLOW=3.2 PYTHON_VERSION=3.12    one of these pairs"
	@echo "make test-newest  the tests on Airflow's newest pre-release, with the newest official SDK"
	@echo "make check        formatting, lint, types, generated files, imports, package, workflows and documentation"
	@echo "make docs         the documentation, into docs/_build/html"
	@echo "make pictures     the documentation's pictures, from a real run; needs Debian's chromium"
	@echo "make bench        the benchmarks"
	@echo "make soak         thousands of jobs on an Airflow of many parts, each killed; needs Debian's postgresql, redis-server"
	@echo "make soak SOAK='--jobs 60 --rows 100'  a small one"
	@echo "make node-sdk     the official Node SDK, from npm, against the simulator; needs Node.js"
	@echo "make clean        remove what demos and tests left; the environment stays"

# Made anew only when what it is made from changes.
$(INSTALLED): pyproject.toml $(CONSTRAINTS)
	@test -n "$(PYTHON)" || { echo "This needs Python 3.11 or newer, as python3.11 or python3." >&2; exit 1; }
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	test -x $(BIN)/uv || $(BIN)/python -m pip install --quiet --disable-pip-version-check uv
	$(BIN)/uv pip install --quiet --python $(BIN)/python -c $(CONSTRAINTS) -e '.[simulator]' --group dev --group agents --group docs --group check
	@touch $@

demo: $(INSTALLED)
	@$(BIN)/python scripts/demo.py $(if $(KEEP),--keep)

test: $(INSTALLED)
	$(BIN)/python -m pytest $(SIDE_BY_SIDE) -m "not long" --durations=20

# All of it runs, also where a part has failed: it takes hours. What "make test" has run is left out of the table.
test-all: $(INSTALLED)
	failed=0; \
	$(BIN)/python -m pytest $(SIDE_BY_SIDE) -m "not long" --durations=20 || failed=1; \
	$(BIN)/python -m pytest $(SIDE_BY_SIDE) -m long --durations=10 || failed=1; \
	$(BIN)/python scripts/matrix.py --skip 3.3-$$($(BIN)/python -c 'import sys; print("%d.%d" % sys.version_info[:2])') || \
		failed=1; \
	exit $$failed

test-on: $(INSTALLED)
	$(BIN)/python scripts/matrix.py --airflow "$(AIRFLOW)" --python "$(PYTHON_VERSION)" \
		$(if $(filter-out 3.11,$(PYTHON_VERSION)),--system never)

test-newest: $(INSTALLED)
	$(BIN)/python scripts/matrix.py --airflow newest --python $(or $(PYTHON_VERSION),3.11)

# .pre-commit-config.yaml runs the same parts.
check: check-format check-lint check-types check-generated check-imports check-package check-workflows docs

check-format: $(INSTALLED)
	$(BIN)/ruff format --check

check-lint: $(INSTALLED)
	$(BIN)/ruff check

check-types: $(INSTALLED)
	$(BIN)/mypy

check-generated: $(INSTALLED)
	$(BIN)/python scripts/sync_api.py --check
	$(BIN)/python scripts/docs_reference.py --check

check-imports:
	@if grep -rnE --include='*.py' '^\s*(import|from) airflow' $(addprefix provider/magic_hour_provider/,api polling simulator clock.py times.py); \
	then echo "api, polling and simulator must not import Airflow." >&2; exit 1; fi

# The wheel is built from the source distribution, as installers do. There is no e-mail address of this project.
check-package: $(INSTALLED)
	rm -rf dist
	$(BIN)/python -m build --no-isolation --outdir dist >dist.log || { cat dist.log; exit 1; }
	@rm -f dist.log
	$(BIN)/twine check --strict dist/*
	$(BIN)/check-wheel-contents dist/*.whl
	$(BIN)/pyroma --min 10 --skip-tests AuthorEmail dist/*.tar.gz

# Offline. actionlint is not on PyPI as a program, so it checks where it is installed.
check-workflows: $(INSTALLED)
	$(BIN)/zizmor --offline --quiet --persona pedantic .github
	$(BIN)/check-jsonschema --builtin-schema vendor.github-workflows .github/workflows/*.yml
	$(BIN)/check-jsonschema --builtin-schema custom.github-workflows-require-timeout .github/workflows/*.yml
	$(BIN)/check-jsonschema --builtin-schema vendor.dependabot .github/dependabot.yml
	$(BIN)/check-jsonschema --builtin-schema vendor.github-issue-forms .github/ISSUE_TEMPLATE/[!c]*.yml
	$(BIN)/check-jsonschema --builtin-schema vendor.github-issue-config .github/ISSUE_TEMPLATE/config.yml
	if command -v actionlint >/dev/null; then actionlint; fi

# A warning is an error. Nothing is fetched from anywhere.
docs: $(INSTALLED)
	$(BIN)/python -m sphinx --fail-on-warning --keep-going --nitpicky --jobs 2 --quiet docs docs/_build/html
	@echo "docs/_build/html/index.html"

# Not in CI: what a picture shows changes with every run.
pictures: $(INSTALLED)
	@$(BIN)/python scripts/pictures.py

bench: $(INSTALLED)
	@$(BIN)/uv pip install --quiet --python $(BIN)/python -c $(CONSTRAINTS) --group bench
	@missed=; for script in benchmarks/*.py; do \
		echo "== $$script"; $(BIN)/python "$$script" || missed="$$missed $$script"; done; \
	test -z "$$missed" || { echo "Missed a figure, or broke:$$missed" >&2; exit 1; }

# Not in CI: it takes about an hour. SOAK has its options: --jobs, --rows, --without-chaos, and others that --help names.
soak: $(INSTALLED)
	@$(BIN)/uv pip install --quiet --python $(BIN)/python -c $(CONSTRAINTS) --group soak
	@$(BIN)/python scripts/soak.py $(SOAK)

# Not in CI: it installs the SDK from npm, into a temporary folder.
node-sdk: $(INSTALLED)
	@$(BIN)/python scripts/node_sdk.py

clean:
	rm -rf .demo .mypy_cache .pytest_cache .ruff_cache build dist docs/_build
	find . -name __pycache__ -not -path './.venv*' -prune -exec rm -rf {} +
