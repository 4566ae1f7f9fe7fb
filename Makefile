# One command each; `make setup` runs by itself before whatever needs it.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
UV := $(BIN)/uv
PLUGINS := $(sort $(wildcard plugins/mix-*))
SOURCES := pyproject.toml setup.py mixkit/_codec.c requirements.lock $(wildcard plugins/*/pyproject.toml plugins/*/setup.py plugins/*/*/*.c)

.PHONY: setup lock test lint bench quickstart clean

setup: $(VENV)/.ready

$(UV):
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check uv==0.13.9

$(VENV)/.ready: $(UV) $(SOURCES)
	$(UV) pip sync --quiet --python $(BIN)/python --require-hashes requirements.lock
	$(UV) pip install --quiet --python $(BIN)/python uv==0.13.9
	$(UV) pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation -e . $(PLUGINS:%=-e %)
	@touch $@

# The lock holds versions and hashes only: where they come from is the business of the machine that installs.
lock: $(UV)
	$(UV) pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header --no-annotate \
	  --no-emit-package mixkit $(PLUGINS:plugins/%=--no-emit-package %) --group dev pyproject.toml $(PLUGINS:%=%/pyproject.toml) \
	  --all-extras --output-file requirements.lock
