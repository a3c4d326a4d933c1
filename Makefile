# Each target sets up its own environment first; that takes seconds when nothing changed.
#   make demo    the whole pipeline on phantoms: no download, no network, a few minutes
#   make run     the default studies (params.yaml), recorded in DVC
#   make test    every test;  make lint  every check;  make bench  paired timings
#   make sync    after a clone or checkout: bring Snakemake and DVC to "nothing to do", or say what
#                is missing
#   make slurm-demo   tiny studies through Slurm on this machine (root; installs Slurm), compared
#                     byte by byte with the same studies run without it
#   make setup TORCH=cpu   as every target does, but with PyTorch's CPU build: 3.4 GB less, where
#                          its index can be reached
#   make lock    rebuild requirements.txt from pyproject.toml

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

PYTHON ?= python3
UV_VERSION := 0.13.9
BIN := .venv/bin
# The build of torch: default (the package index's, which brings CUDA on Linux) or cpu. What the
# environment was set up with holds for later calls.
TORCH ?= $(or $(shell cat .venv/.torch 2>/dev/null),default)
READY := .venv/.ready-$(TORCH)
export PATH := $(CURDIR)/$(BIN):$(PATH)

.PHONY: help setup demo run test lint format bench sync slurm-demo lock

help:
	@sed -n 's/^#   //p' Makefile

setup: $(READY)

$(READY): requirements.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "medlabel needs Python 3.11 or later; '$(PYTHON)' is $$($(PYTHON) --version). Run make PYTHON=python3.12" >&2; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check uv==$(UV_VERSION)
	@echo "Setting up .venv ($(TORCH) build of torch): 6 GB with CUDA, less than half with TORCH=cpu; a minute or more."
	@workflow/scripts/install.sh $(BIN) $(TORCH)
	@$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation --editable .
	@rm -f .venv/.ready*
	@echo $(TORCH) > .venv/.torch
	@touch $@
	@echo "Ready. For snakemake, dvc and medlabel by name: source .venv/bin/activate"

demo: $(READY)
	snakemake --logger medlabel --configfile config/demo.yaml
	@echo "Pages: demo/results/demo/report.html  demo/results/demo_quality/report.html"

run: $(READY)
	snakemake --logger medlabel
	@echo "Pages: $$(ls results/*/report.html | tr '\n' ' ')"

test: $(READY)
	pytest --numprocesses 2 --dist loadgroup

lint: $(READY)
	ruff check .
	ruff format --check .
	mypy
	snakefmt --check Snakefile workflow
	snakemake --lint

format: $(READY)
	ruff check --fix .
	ruff format .
	snakefmt Snakefile workflow

bench: $(READY)
	python bench/embedding.py --out results/bench/embedding.json
	python bench/students.py --out results/bench/students.json
	snakemake --quiet all -- data/raw/vesselmnist3d.npz
	python bench/acs.py --archive data/raw/vesselmnist3d.npz --out results/bench/acs.json

sync: $(READY)
	workflow/scripts/sync.sh

slurm-demo: $(READY)
	workflow/scripts/slurm_demo.sh

lock: $(READY)
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --extra dev --extra slurm --generate-hashes \
	  --no-annotate --no-header --upgrade --output-file requirements.txt pyproject.toml
