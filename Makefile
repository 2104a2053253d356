# materia: `make run` installs everything into .venv and runs the quickstart campaign; `make help` lists the rest.

PYTHON ?= python3
VENV ?= .venv
CAMPAIGN ?= experiments/quickstart.yaml
PYTEST_ARGS ?=
# Processes that share the tests: two, as some jobs in them take two cores; 0 runs them in pytest's own (for --pdb).
TEST_PROCESSES ?= 2

BIN := $(VENV)/bin
INSTALL := $(PYTHON) tools/install.py --venv $(VENV)
TESTED = constraints/py$(shell $(BIN)/python -c 'import sys; print("%d.%d" % sys.version_info[:2])').txt

.PHONY: help run test lint format install dev gpaw pin wheel wheelhouse clean need-python

help: ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | awk -F'\t' '{printf "  make %-12s %s\n", $$1, $$2}'
	@echo "  settings: PYTHON=python3.12  VENV=.venv  CAMPAIGN=my.yaml  PYTEST_ARGS='tests/crystal -x'"

run: install ## install, then run (or resume) the quickstart campaign
	@$(BIN)/materia run $(CAMPAIGN)

test: dev ## install with the developers' tools, then run the tests
	@OMP_NUM_THREADS=$${OMP_NUM_THREADS:-1} $(BIN)/python -m pytest -n $(TEST_PROCESSES) --dist loadfile $(PYTEST_ARGS)

lint: dev ## ruff, mypy and the import layers
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/mypy tools
	$(BIN)/lint-imports

format: dev ## let ruff mend and format the code
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

install: need-python ## create .venv with the tested versions (no root; nothing is done twice)
	@$(INSTALL) --extras gpaw,dashboard

dev: need-python ## the same with the developers' tools
	@$(INSTALL) --extras gpaw,dashboard,dev

gpaw: need-python ## build GPAW again, with libxc, BLAS, FFTW or MPI installed since
	@$(INSTALL) --extras gpaw,dashboard --rebuild-gpaw

pin: dev ## write the installed versions to constraints/ (after an upgrade was tested)
	$(BIN)/python tools/pin.py

wheel: dev ## build the wheel and the source package into dist/
	$(BIN)/python -m build --outdir dist

wheelhouse: install ## collect every wheel a machine without internet needs, in wheelhouse/
	$(BIN)/python -m pip wheel --constraint $(TESTED) --find-links $(VENV)/wheels --wheel-dir wheelhouse '.[gpaw,dashboard]'

clean: ## remove .venv, caches and built packages; campaigns in runs/ stay
	rm -rf $(VENV) dist build wheelhouse .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .coverage htmlcov

need-python:
	@command -v $(PYTHON) >/dev/null || { \
	  echo "error: $(PYTHON) not found."; \
	  echo "  remedy: on Debian or Ubuntu: sudo apt-get install python3 python3-venv python3-dev g++"; exit 1; }
