# `make demo` is the way in; `make test` is what CI runs. Both need only Python >= 3.11 and a network.
PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
PIP    := $(BIN)/python -m pip --disable-pip-version-check --no-input
DEMO   ?= demo
STUDY  ?= runs/study-toy
JOBS   ?= 2

# What tools would leave in the user's home or in /tmp stays in the clone.
SCRATCH := $(CURDIR)/build
export MPLCONFIGDIR := $(SCRATCH)/matplotlib
export TORCHINDUCTOR_CACHE_DIR := $(SCRATCH)/inductor
export NEXUS_CACHE := $(SCRATCH)/nexus
# One thread a process: small models get slower, not faster, when they share cores with others. Each
# process takes tests that stand side by side, which share what they make; the last ones are shared.
PYTEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -n $(JOBS) --dist worksteal --basetemp=build/pytest

.PHONY: help venv demo test lint unit test-slow test-envs test-python bench gpu study clean
.DEFAULT_GOAL := help

help:
	@echo 'make demo       install, make a toy world, train on it, probe, write $(DEMO)/report.html'
	@echo 'make venv       install everything, development tools included, into $(VENV)'
	@echo 'make test       what CI runs: lint, types, layers, all tests but the slow ones'
	@echo 'make lint       ruff, pyright, import-linter'
	@echo 'make test-slow  the tests that take minutes'
	@echo 'make test-envs  the tests of environments that the extra `envs` installs'
	@echo 'make test-python PYTHON=python3.12   the tests of `make test` with another Python'
	@echo 'make bench      clips/s, memory and loader speed on this machine'
	@echo 'make gpu        on a machine with a GPU: its tests and benchmarks, about eight minutes (GPU=--quick: tiny; without a GPU: GPU="--quick --device cpu")'
	@echo 'make study      the toy study of the README: every arm, three seeds (about 40 minutes)'
	@echo 'make clean      remove caches and the demo; runs and $(VENV) stay'

# torch comes first and alone: with it in place, no later package can pull in another build of it.
$(VENV)/.runtime: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "nexus needs Python 3.11 or newer, $(PYTHON) is older: make PYTHON=python3.12 ..."; exit 1; }
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(PIP) install --quiet "$$(grep '^torch==' constraints.txt)" -c constraints.txt
	$(PIP) install --quiet -c constraints.txt -e .
	@touch $@

$(VENV)/.dev: $(VENV)/.runtime
	$(PIP) install --quiet -c constraints.txt -e '.[dev]'
	@touch $@

venv: $(VENV)/.dev

demo: $(VENV)/.runtime
	$(BIN)/nexus demo --out $(DEMO)

lint: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright --pythonpath $(BIN)/python
	$(BIN)/lint-imports

unit: $(VENV)/.dev
	@mkdir -p $(SCRATCH)
	$(PYTEST) -m "not slow and not cuda and not envs"

test: lint
	@$(MAKE) --no-print-directory unit

test-slow: $(VENV)/.dev
	@mkdir -p $(SCRATCH)
	$(PYTEST) -m "slow and not cuda and not envs"

test-envs: $(VENV)/.dev
	@mkdir -p $(SCRATCH)
	$(PIP) install --quiet -c constraints.txt -e '.[envs]'
	$(PYTEST) -m envs

test-python:
	@$(MAKE) --no-print-directory unit PYTHON=$(PYTHON) VENV=.venv-$(notdir $(PYTHON))

bench: $(VENV)/.runtime
	$(BIN)/python benchmarks/train_step.py
	$(BIN)/python benchmarks/data.py

gpu: $(VENV)/.dev
	$(BIN)/python benchmarks/gpu.py $(GPU)

study: $(VENV)/.runtime
	$(BIN)/nexus study toy --out $(STUDY)

clean:
	rm -rf $(DEMO) build dist *.egg-info .pytest_cache .ruff_cache .hypothesis .import_linter_cache
	find nexus tests benchmarks -name __pycache__ -type d -prune -exec rm -rf {} +
