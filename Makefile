# `make` alone explains itself: every target with a ## comment is listed.

ifdef VIRTUAL_ENV
ENVIRONMENT := $(VIRTUAL_ENV)
PYTHON ?= $(VIRTUAL_ENV)/bin/python
else
ENVIRONMENT := .venv
# The newest Python that will do; `make PYTHON=/path/to/python run` names another.
PYTHON ?= $(shell for p in python3.11 python3.12 python3.13 python3 python; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && break; done)
ifeq ($(PYTHON),)
PYTHON := python3
endif
endif
IN := $(ENVIRONMENT)/bin/python

.DEFAULT_GOAL := help
.PHONY: help setup run test test-all lint types bench peers train clean

help: ## Show this list
	@echo "SynthScope: make, look at, judge and check synthetic medical images. Research use only."
	@echo
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: ## Make the environment; over at once when nothing changed
	@$(PYTHON) -m app.setup

run: setup ## Set up, then open the workbench in a browser
	@$(IN) -m app

test: setup ## Set up, then run the tests, two files at a time (without the slow ones)
	@$(IN) -m pytest -m "not slow" -n 2 --dist loadfile

test-all: setup ## Set up, then run every test
	@$(IN) -m pytest

lint: setup ## Check style and formatting
	@$(IN) -m ruff check .
	@$(IN) -m ruff format --check .

types: setup ## Check types
	@$(IN) -m mypy

bench: setup ## Run the benchmarks of the house and of every system that has one
	@$(IN) -m tests.benchmarks all

peers: setup ## Install the programs that benchmarks compare with into .venv-peers
	@$(PYTHON) -m app.setup --peers

train: setup ## Train a refiner by the recipe of the shipped one, into the home folder
	@$(IN) -m backend train topology

clean: ## Remove caches; environments, weights and the home folder stay
	@rm -rf .pytest_cache .ruff_cache .mypy_cache .hypothesis build
	@find app backend models tests -name __pycache__ -type d -prune -exec rm -rf {} +
