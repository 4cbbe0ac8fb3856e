# `make help` lists the targets. Every target that needs root takes it through sudo by itself.
SHELL := /bin/bash
SUDO := $(shell [ "$$(id -u)" = 0 ] || echo sudo)
BIN := .venv/bin
SEED ?= 1
RUNS ?= 10
INCIDENTS ?= 200000

.DEFAULT_GOAL := help
.PHONY: help setup drill test test-fast simulate matrix bench-failover lint format clean docs golden

help:  ## list the targets
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):[^#]*## */  make \1\t/' | expand -t 20

setup:  ## install what is missing: Debian packages and the virtual environment
	@$(SUDO) bash lab/setup.sh

drill: setup  ## lose Daejeon in the lab, keep the service, and write the report (SEED=n)
	@$(SUDO) $(BIN)/hanbat drill run site-loss --seed $(SEED)

test: setup lint  ## everything: lint, unit tests, tests on the lab's machines, whole drills
	@$(SUDO) $(BIN)/python -m pytest -v -m lab
	@$(SUDO) $(BIN)/python -m pytest -q -m 'not lab' -n 2

test-fast:  ## the tests that need neither the lab nor root
	@$(BIN)/python -m pytest -q -m 'not lab' -n 2

simulate:  ## nightly: the failover controller against INCIDENTS=200000 simulated incidents, from SEED
	@$(BIN)/python -m tests.simulation.run --seed $(SEED) --incidents $(INCIDENTS)

matrix: setup  ## the whole fault matrix as drills, one after the other (SEED=n)
	@$(SUDO) $(BIN)/hanbat drill matrix --seeds $(SEED)-$(SEED)

bench-failover: setup  ## Patroni with defaults, Patroni tuned, Hanbat: outages and commits (RUNS=10)
	@$(SUDO) $(BIN)/hanbat bench failover --runs $(RUNS) --write

lint:  ## ruff, pyright, the layers
	@$(BIN)/ruff check . && $(BIN)/ruff format --check . && $(BIN)/lint-imports && $(BIN)/pyright

format:  ## let ruff lay out the code
	@$(BIN)/ruff check --fix . && $(BIN)/ruff format .

golden:  ## write the golden files of the reference shape anew; read the difference before you commit it
	@$(BIN)/python -m tests.golden.update

docs:  ## write the documents that come from the code
	@$(BIN)/hanbat topology settings > docs/settings.md
	@$(BIN)/hanbat errors --markdown > docs/errors.md

clean:  ## take the lab down and remove what was built here (the cached image stays)
	@if [ -x $(BIN)/hanbat ]; then $(SUDO) $(BIN)/hanbat lab down; fi
	@rm -rf .venv .build build dist *.egg-info .pytest_cache .ruff_cache .hypothesis .import_linter_cache
