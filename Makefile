# `make` alone lists the targets. Each sets up what it needs by itself.
#   VENV=DIR (default .venv)   PYTHON=COMMAND   SIREN_TORCH_INDEX=URL or folder: see scripts/setup.sh
SHELL := /bin/bash
.DEFAULT_GOAL := help
export VENV ?= .venv
export PYTHON SIREN_TORCH_INDEX
BIN := $(VENV)/bin
# The stub generators live in an environment of their own, made with this Python: scripts/proto.sh.
export PROTO_PYTHON ?= $(abspath $(BIN))/python
ARGS ?=

.PHONY: help setup demo test long e2e pythons bench lint types proto docs lock clean

help: ## List the targets
	@echo "Siren gRPC: streaming speech-to-text. Start with 'make demo', then 'make test'."
	@echo
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / {printf "  make %-8s %s\n", $$1, $$2}' $(MAKEFILE_LIST)
	@echo
	@echo "Settings: VENV=DIR  PYTHON=python3.12  ARGS='-k stability' (for test and e2e)"
	@echo "          SIREN_TORCH_INDEX=URL or folder to take torch from"

setup: ## Make the virtual environment (done by every target that needs it)
	@scripts/setup.sh

demo: setup ## Start a server, stream a recording to it and watch it become text
	@scripts/demo.sh

test: setup ## Run every test that needs no GPU, and not minutes
	@scripts/test.sh $(ARGS)

long: setup ## Run the tests that take minutes: an hour of audio in one stream
	@$(BIN)/python -m pytest -m "long and not gpu" $(ARGS)

e2e: setup ## Run only the tests with a real server and a real model
	@$(BIN)/python -m pytest -m "e2e and not gpu" $(ARGS)

pythons: ## Test the client on every Python 3.10 to 3.13 there is
	@scripts/pythons.sh $(ARGS)

bench: setup ## Measure engine, server and a long stream; redraw docs/benchmarks.md (10 minutes)
	@$(BIN)/siren bench engine --json docs/benchmarks/engine.json
	@$(BIN)/siren bench server --streams 1,8 --ramp --most 1024 --empty-handler --json docs/benchmarks/server.json
	@$(BIN)/siren bench long --threads 1 --json docs/benchmarks/long.json
	@scripts/docs.sh

lint: setup ## Check style, import rules, the proto and that generated files are fresh
	@scripts/lint.sh

types: setup ## Check types with mypy --strict
	@$(BIN)/mypy

proto: setup ## Regenerate the Python stubs from proto/
	@scripts/proto.sh

docs: setup ## Regenerate the figures and tables in docs/
	@scripts/docs.sh

lock: setup ## Resolve constraints.txt anew: the versions tested together
	@scripts/lock.sh

clean: ## Remove the virtual environment and every cache
	@rm -rf -- "$(VENV)" "$(VENV).log" .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache build dist
	@find . -name __pycache__ -type d -not -path './.venv*' -prune -exec rm -rf {} +
