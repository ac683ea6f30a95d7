# The only interface to the tools: people and continuous integration alike run these targets.
# Each one is a script in scripts/; `make VENV=somewhere TARGET` uses another virtual environment.
PYTHON ?= python3
VENV ?= .venv
export PYTHON VENV

INSTALLED := $(VENV)/.installed
CORE := $(VENV)/.installed-core
PEERS := $(VENV)/.installed-peers
DOCS := $(VENV)/.installed-docs
SETTINGS := pyproject.toml constraints.txt

.DEFAULT_GOAL := help
.PHONY: help install demo test test-all check fix docs bench coverage cases release-check

help:  ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-13s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

install: $(INSTALLED)  ## make .venv with the package and its development tools

demo: $(CORE)  ## install, then show the whole method in about a minute
	@"$(VENV)/bin/twinlatent" demo

test: $(INSTALLED)  ## fast tests, and the examples in docstrings
	@scripts/test

test-all: $(PEERS)  ## the slow tests too, those against other libraries included
	@scripts/test -m ""

check: $(INSTALLED)  ## lint, format, types, pages of results, numbers in the docs; changes nothing
	@scripts/check

fix: $(INSTALLED)  ## repair what lint and format can
	@scripts/fix

docs: $(DOCS)  ## the documentation as a site, in site/
	@scripts/docs

bench: $(PEERS)  ## run every file of benchmarks/
	@scripts/bench

coverage: $(INSTALLED)  ## fast tests with coverage; method, attacks and evaluation must reach 98 %
	@scripts/coverage

release-check: $(INSTALLED)  ## build wheel and sdist, and try what a person installs; figures to results/release.json
	@scripts/release_check

cases: $(INSTALLED)  ## run the small inputs of a folder, DIR=folder, and say which fail
	@scripts/cases "$(DIR)"

$(CORE): $(SETTINGS)
	@scripts/install core

$(INSTALLED): $(SETTINGS)
	@scripts/install dev

$(PEERS): $(SETTINGS) | $(INSTALLED)
	@scripts/install dev,peers,onnx

$(DOCS): $(SETTINGS)
	@scripts/install docs
