.DEFAULT_GOAL := help
.PHONY: help demo test unit check audit fix serve bench-network lock clean
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
UV_PIP := $(BIN)/uv pip install --python $(VENV) --quiet --compile-bytecode
# uv does not read pip's settings; this one lets a local wheel of torch be found.
FIND_LINKS := $(if $(PIP_FIND_LINKS),--find-links $(PIP_FIND_LINKS))
ONCE ?=
ENTRY ?=
CONFIG ?= swin_l
SIZE ?= 512
BENCH_VENV := .venv-bench

help:  ## Print this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

$(VENV)/.ready: requirements-torch.txt requirements.txt requirements-dev.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed; name one: make PYTHON=python3.11 …")'
	@echo "Setting up $(VENV) (once; a minute or two) ..."
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check uv==0.13.9
	@$(UV_PIP) --require-hashes -r requirements-dev.txt
	@$(UV_PIP) $(FIND_LINKS) -r requirements-torch.txt
	@touch $@

# Optional packages: what RunPod's SDK and Ray bring is not for every machine that runs the service.
$(VENV)/.ready-%: requirements-%.txt $(VENV)/.ready
	@echo "Adding $* to $(VENV) (once) ..."
	@$(UV_PIP) --require-hashes -r $<
	@touch $@

demo: $(VENV)/.ready $(if $(ENTRY),$(VENV)/.ready-$(ENTRY))  ## Run the whole journey on embedded Postgres, S3 and model (ONCE=1: stop after the table; ENTRY=ray, ENTRY=runpod: in these engines)
	@$(BIN)/python -m webhook demo $(if $(ONCE),--once) $(if $(ENTRY),--entry $(ENTRY))

test: check  ## Run the checks and every test
	@$(BIN)/python -m pytest

unit: $(VENV)/.ready  ## Run the fast tests
	@$(BIN)/python -m pytest tests/unit

check: $(VENV)/.ready $(VENV)/.ready-runpod $(VENV)/.ready-ray  ## Format and lint checks, types, import contracts, spelling, advisories
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports
	@$(BIN)/codespell
	@$(BIN)/python tools/audit.py --report-only

audit: $(VENV)/.ready  ## Ask the advisory database about every pinned package; fail if one is vulnerable
	@$(BIN)/python tools/audit.py

fix: $(VENV)/.ready  ## Format, and fix what can be fixed
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

serve: $(VENV)/.ready  ## Serve with the settings of the environment
	@$(BIN)/python -m webhook serve

$(BENCH_VENV)/.ready: requirements-bench.txt
	@echo "Setting up $(BENCH_VENV) (once; 5.5 GB) ..."
	@test -x $(BENCH_VENV)/bin/python || $(PYTHON) -m venv $(BENCH_VENV)
	@$(BENCH_VENV)/bin/python -m pip install --quiet --disable-pip-version-check -r requirements-bench.txt
	@touch $@

bench-network: $(BENCH_VENV)/.ready  ## Measure the network against a plain one (CONFIG=swin_t SIZE=1024)
	@$(BENCH_VENV)/bin/python -m bench network --config $(CONFIG) --size $(SIZE)

lock: $(VENV)/.ready  ## Write the hashed requirements from the *.in files
	@for name in requirements requirements-dev requirements-runpod requirements-ray; do \
		$(BIN)/uv pip compile --quiet --generate-hashes --python-version 3.11 --no-emit-package torch \
			--custom-compile-command 'make lock' $(FIND_LINKS) $$name.in -o $$name.txt; \
	done

clean:  ## Remove what the other targets made
	rm -rf $(VENV) $(BENCH_VENV) demo-output .pytest_cache .mypy_cache .ruff_cache .import_linter_cache
