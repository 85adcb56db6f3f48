.DEFAULT_GOAL := help
.PHONY: help demo test unit browser check audit fix serve image screenshots bench bench-edges bench-network lock clean
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
IMAGE ?= hasura-background-removal
VERSION := $(shell sed -n 's/^__version__ = "\(.*\)"/\1/p' webhook/__init__.py)
WEIGHTS ?=
HUB_SECRET := --secret id=HF_TOKEN,env=HF_TOKEN
AXE := tests/browser/node_modules/axe-core/axe.min.js
# Whatever the environment says: the tests start hundreds of processes of the same modules.
unexport PYTHONDONTWRITEBYTECODE

help:  ## Print this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

$(VENV)/.ready: requirements/torch.txt requirements.txt requirements/dev.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed; name one: make PYTHON=python3.11 …")'
	@echo "Setting up $(VENV) (once; a minute or two) ..."
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check uv==0.13.9
	@$(UV_PIP) --require-hashes -r requirements/dev.txt
	@$(UV_PIP) $(FIND_LINKS) -r requirements/torch.txt
	@touch $@

# Optional packages: what RunPod's SDK and Ray bring is not for every machine that runs the service.
$(VENV)/.ready-%: requirements/%.txt $(VENV)/.ready
	@echo "Adding $* to $(VENV) (once) ..."
	@$(UV_PIP) --require-hashes -r $<
	@touch $@

demo: $(VENV)/.ready $(if $(ENTRY),$(VENV)/.ready-$(ENTRY))  ## Run the whole journey on embedded Postgres, S3 and model (ONCE=1: stop after the table; ENTRY=ray, ENTRY=runpod: in these engines)
	@$(BIN)/python -m devstack $(if $(ONCE),--once) $(if $(ENTRY),--entry $(ENTRY))

# Three files at a time, on two cores: a third of the time is waiting.
test: check browser  ## Run the checks and every test; the fast ones once more, four years later
	@$(BIN)/python -m pytest --numprocesses 3 --dist loadfile --no-loadscope-reorder
	@$(UNIT) --quiet --days-later 1461

# Without the plugin that only the fuzz tests need: it takes two seconds to load.
UNIT := $(BIN)/python -m pytest tests/unit -p no:schemathesis --numprocesses 2 --dist loadfile

unit: $(VENV)/.ready  ## Run the fast tests
	@$(UNIT)

browser:  ## Install what the page's tests need, where that may be done: Chromium (root, apt) and axe-core (npm)
	@if command -v chromium >/dev/null; then :; \
	elif [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
		echo "Installing Chromium (once; half a minute) ..."; \
		{ apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -yqq --no-install-recommends chromium >/dev/null; } \
			|| echo "*** THE PAGE WILL NOT BE TESTED: Chromium can't be installed."; \
	else echo "*** THE PAGE WILL NOT BE TESTED: Chromium is missing. Debian: apt-get install chromium"; fi
	@if [ -e $(AXE) ]; then :; \
	elif command -v npm >/dev/null; then npm ci --prefix tests/browser --no-audit --no-fund --silent \
		|| echo "*** ACCESSIBILITY WILL NOT BE TESTED: axe-core can't be installed."; \
	else echo "*** ACCESSIBILITY WILL NOT BE TESTED: npm is missing."; fi

screenshots: $(VENV)/.ready browser  ## Make the documentation's pictures of the page anew
	@$(BIN)/python -m tools.screenshots

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

image:  ## Build the container image (WEIGHTS=briaai/RMBG-2.0: with its weights, by HF_TOKEN)
	docker build --platform linux/amd64 --tag $(IMAGE):$(VERSION) \
		--build-arg VERSION=$(VERSION) --build-arg REVISION=$$(git rev-parse HEAD) \
		--build-arg WEIGHTS="$(WEIGHTS)" $(if $(HF_TOKEN),$(HUB_SECRET)) .

# A benchmark that fails is recorded where it has figures, but fails the target.
bench bench-edges bench-network: SHELL := bash
bench bench-edges bench-network: .SHELLFLAGS := -o pipefail -c

bench: $(VENV)/.ready  ## Measure (long; on an idle machine), keep the figures in docs/benchmarks/, and draw them
	@for name in image_path renditions throughput storm slowdown faults fuzz hostile \
		$$($(BIN)/python -c 'import importlib.util as u; print("scale" if u.find_spec("ray") else "")'); do \
		echo "== $$name"; $(BIN)/python -m bench $$name | $(BIN)/python -m bench report || exit 1; \
	done

$(BENCH_VENV)/.ready: requirements/bench.txt
	@echo "Setting up $(BENCH_VENV) (once; 5.5 GB) ..."
	@test -x $(BENCH_VENV)/bin/python || $(PYTHON) -m venv $(BENCH_VENV)
	@$(BENCH_VENV)/bin/python -m pip install --quiet --disable-pip-version-check -r requirements/bench.txt
	@touch $@

bench-edges: $(VENV)/.ready $(BENCH_VENV)/.ready  ## Measure the edge clean-up against pymatting's
	@$(BENCH_VENV)/bin/python -m bench edges | $(BIN)/python -m bench report

bench-network: $(VENV)/.ready $(BENCH_VENV)/.ready  ## Measure the network against a plain one (CONFIG=swin_t SIZE=1024)
	@$(BENCH_VENV)/bin/python -m bench network --config $(CONFIG) --size $(SIZE) \
		| $(BIN)/python -m bench report

# Without what a CUDA build of torch brings: torch stands apart, and comes as the machine has it.
WITHOUT_TORCH := --no-emit-package torch $(shell sed -n 's/^\(\(nvidia\|cuda\|triton\)[a-z0-9-]*\)[=\[].*/--no-emit-package \1/p' requirements/cuda.txt)

lock: $(VENV)/.ready  ## Write the hashed requirements from the *.in files
	@for pair in base:requirements.txt dev:requirements/dev.txt runpod:requirements/runpod.txt \
		ray:requirements/ray.txt; do \
		$(BIN)/uv pip compile --quiet --generate-hashes --python-version 3.11 $(WITHOUT_TORCH) \
			--custom-compile-command 'make lock' $(FIND_LINKS) requirements/$${pair%%:*}.in \
			-o $${pair#*:} || exit 1; \
	done
	@# torch as the image has it: the public wheels for CUDA, whatever PIP_FIND_LINKS holds.
	@$(BIN)/uv pip compile --quiet --generate-hashes --python-version 3.11 \
		--python-platform x86_64-manylinux_2_28 --custom-compile-command 'make lock' \
		-c requirements.txt requirements/torch.txt -o requirements/cuda.txt

clean:  ## Remove what the other targets made
	rm -rf $(VENV) $(BENCH_VENV) demo-output tests/browser/node_modules .pytest_cache .mypy_cache .ruff_cache .import_linter_cache
