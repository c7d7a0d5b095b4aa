# Two commands for newcomers: `make drill` shows the main job on the sandbox, `make test` runs every check.
PYTHON ?= python3
BIN := .venv/bin
MODE ?= rollback
export PREFECT_SERVER_ANALYTICS_ENABLED := false
export DO_NOT_TRACK := 1

.PHONY: help install drill up test torture lost-machine lint types contracts clean
.DEFAULT_GOAL := help

help:            ## What can be made
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*##/\t/' | expand -t 14

install: .venv/installed  ## A virtual environment with exactly the versions of requirements.txt

.venv/installed: requirements.txt pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --disable-pip-version-check -r requirements.txt
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

drill: install   ## Rehearse on the sandbox, in the foreground; MODE=rollback (the default), deployment, database, migration, frontend, cache or infrastructure
	@$(BIN)/python -m deployments.drill --mode $(MODE)

up: install      ## Sandbox, Prefect server with UI, and worker, until Ctrl-C
	@$(BIN)/python -m deployments.up

test: install lint types contracts  ## Lint, types, import contracts and every test
	$(BIN)/pytest -n 4 --dist loadfile --no-loadscope-reorder

torture: install ## Kill and resume a hundred rollbacks at random moments; up to 40 minutes
	PYTHONPATH=tests $(BIN)/python tests/torture.py

lost-machine: install ## Lose a machine in the middle of a rollback, and see how long another takes; 2 minutes
	PYTHONPATH=tests $(BIN)/python tests/lost_machine.py

lint: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: install
	$(BIN)/pyright

contracts: install
	$(BIN)/lint-imports

clean:           ## Remove the virtual environment and local state
	rm -rf .venv .state
