# One command per wish; `make help` lists them. Everything but `setup` sets up first when it must.
SHELL := /bin/bash
PYTHON ?=
VENV ?= .venv
BIN := $(VENV)/bin
ARGS ?=

.DEFAULT_GOAL := help
.PHONY: help setup build serve test test-loop test-all check fix bench bench-peers fuzz attack sanitize docs clean

help: ## list the commands
	@awk -F':.*## ' '/^[a-z-]+:.*## /{printf "  \033[36mmake %-12s\033[0m %s\n", $$1, $$2}' Makefile

setup: ## make .venv, build the compiled core, install the services that tests need
	@PYTHON="$(PYTHON)" VENV="$(VENV)" scripts/setup

# The stamp is older than the metadata: set up again. Sources alone only need `build`.
$(VENV)/.stamp: pyproject.toml constraints.txt packages/*/pyproject.toml packages/build_core.py scripts/setup scripts/fetch-docs-ui
	@PYTHON="$(PYTHON)" VENV="$(VENV)" scripts/setup

build: $(VENV)/.stamp ## compile what changed, in place
	@VENV="$(VENV)" scripts/build

serve: build ## run the example application and print its address
	@$(BIN)/python -m examples.tasks $(ARGS)

test: build ## the whole suite: io_uring, epoll, pure
	@VENV="$(VENV)" scripts/test $(ARGS)

test-loop: build ## CPython's own asyncio tests against this loop
	@$(BIN)/python -m tests.loop $(ARGS)

test-all: ## the suite on every Python found (3.11, 3.12, 3.13)
	@scripts/test-all $(ARGS)

check: build ## format, lint, types, layers
	@VENV="$(VENV)" scripts/check

fix: build ## format and repair what can be repaired
	@$(BIN)/ruff check -q --fix . ; $(BIN)/ruff format -q .

bench: build ## about five minutes: memory-fed core, then HTTP beside the C floor
	@$(BIN)/python -m bench $(ARGS)

bench-peers: build ## the long one: beside the other servers
	@$(BIN)/python -m bench --peers $(ARGS)

fuzz: build ## fuzz all that reads bytes (SECONDS=60); ARGS="http fields shared tls loop faults" chooses
	@$(BIN)/python -m fuzz $(ARGS)

attack: build ## twenty minutes of hostile clients, signals and reloads against three workers (ARGS="--minutes 2 --tls")
	@$(BIN)/python -m fuzz.attack $(ARGS)

sanitize: build ## the compiled code under AddressSanitizer and UBSan, in build/sanitize
	@VENV="$(VENV)" scripts/sanitize $(ARGS)

clean: ## remove what was built
	rm -rf build packages/*/build packages/*/src/*.egg-info
	find packages -name '*.so' -delete
