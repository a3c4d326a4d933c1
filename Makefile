# Each target sets up its own environment first; that takes seconds when nothing changed.
#   make demo    the whole pipeline on phantoms: no download, no network, a few minutes
#   make run     the real study (params.yaml), recorded in DVC
#   make test    every test;  make lint  every check;  make bench  paired timings
#   make lock    rebuild requirements.txt from pyproject.toml

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

PYTHON ?= python3
UV_VERSION := 0.13.9
BIN := .venv/bin
READY := .venv/.ready
export PATH := $(CURDIR)/$(BIN):$(PATH)

.PHONY: help setup demo run test lint format bench lock

help:
	@sed -n 's/^#   //p' Makefile

setup: $(READY)

$(READY): requirements.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "medlabel needs Python 3.11 or later; '$(PYTHON)' is $$($(PYTHON) --version). Run make PYTHON=python3.12" >&2; exit 1; }
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check uv==$(UV_VERSION)
	$(BIN)/uv pip install --quiet --python $(BIN)/python --compile-bytecode \
	  --require-hashes --requirement requirements.txt
	$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation --editable .
	@touch $@

demo: $(READY)
	snakemake --configfile config/demo.yaml
	snakemake --configfile config/demo.yaml --report demo/report.html --quiet all
	@echo "Figures: demo/results/figures   One page: demo/results/*_report.html   Snakemake's report: demo/report.html"

run: $(READY)
	snakemake
	snakemake --report report.html --quiet all

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

lock: $(READY)
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --extra dev --generate-hashes \
	  --no-annotate --no-header --upgrade --output-file requirements.txt pyproject.toml
