# What the README names. Nothing is rebuilt that is up to date; stamps are in .venv/stamps.
#   make start   install what is missing, build the core, start the cluster, return when it is ready
#   make test    the same for the tests, and run all of them
#   make load    a load test with gates and a report: PROFILE=plateau, ramp, spike, soak, deploy
#   make fuzz    each fuzz target of rust/fuzz for FUZZ_S=60 seconds; FUZZ_KEEP=1 keeps what it found.
#                Needs: rustup toolchain install nightly; cargo install cargo-fuzz --locked
#   make proof   every proof, some hours; simulated time is one and a half to seven of one core's
#   make stop lint fmt bench

SHELL := /bin/bash
.DEFAULT_GOAL := help

VENV := .venv
BIN := $(VENV)/bin
STAMPS := $(VENV)/stamps
PYTHON ?= $(shell .ci/python)
PROFILE ?= plateau
FUZZ_S ?= 60

CORE_SOURCES := Cargo.toml $(wildcard Cargo.lock) rust/Cargo.toml \
	$(shell find rust/src -name '*.rs' 2>/dev/null)
BENCH_SOURCES := Cargo.toml $(wildcard Cargo.lock) rust/bench/Cargo.toml \
	$(shell find rust/bench/src -name '*.rs' 2>/dev/null)

export VIRTUAL_ENV := $(CURDIR)/$(VENV)
export PYO3_PYTHON := $(CURDIR)/$(BIN)/python
export PIP_DISABLE_PIP_VERSION_CHECK := 1
export PIP_QUIET := 1

.PHONY: help start stop test lint fmt bench proof load fuzz build servers components

help:
	@sed -n 's/^#   //p' Makefile

start: build servers
	@$(BIN)/mmo-cluster start

stop:
	@$(BIN)/mmo-cluster stop

# Redis and MariaDB come from the distribution; their services are neither started nor touched.
servers:
	@.ci/servers redis-server mariadbd

build: $(STAMPS)/core

# What a toolchain of the least profile lacks; of one that is not there the build says more.
components:
	@! command -v cargo >/dev/null || \
		{ cargo fmt --version && cargo clippy --version; } >/dev/null 2>&1 || \
		{ echo "rustfmt or clippy is missing: rustup component add rustfmt clippy"; exit 1; }

test: components $(STAMPS)/tests $(STAMPS)/generator
	@.ci/servers redis-server mariadbd valgrind
	@$(BIN)/python .ci/parts.py

lint: components $(STAMPS)/tests
	@$(BIN)/python .ci/parts.py lint

fmt: components $(STAMPS)/tests
	cargo fmt --all
	$(BIN)/ruff check --fix --quiet python tests loadtest .ci
	$(BIN)/ruff format python tests loadtest .ci

bench: build servers $(STAMPS)/generator
	@.ci/servers valgrind
	@for name in $$($(BIN)/mmo-cluster bench --list --json | $(BIN)/python .ci/names.py); do \
		$(BIN)/mmo-cluster bench $$name || exit 1; done

proof: build servers
	@for name in $$($(BIN)/mmo-cluster prove --list --json | $(BIN)/python .ci/names.py); do \
		$(BIN)/mmo-cluster prove $$name || exit 1; done

# A cluster of its own, or the running one of MMO_HOME; the report goes to target/load.
load: $(STAMPS)/tests servers
	@$(BIN)/python -m loadtest.run --profile $(PROFILE) $(if $(MMO_HOME),--home $(MMO_HOME))

# With coverage to guide it, beyond what `make test` has time for: that replays the kept corpus only.
fuzz:
	@$(or $(PYTHON),python3) .ci/fuzz.py --for $(FUZZ_S) $(if $(FUZZ_KEEP),--keep)

$(STAMPS)/venv:
	@test -n "$(PYTHON)" || { echo "no Python 3.11 or newer found: sudo apt-get install python3"; exit 1; }
	@$(PYTHON) -c 'import ensurepip' 2>/dev/null || .ci/servers python3-venv
	@test -x $(BIN)/python || { echo "making $(VENV) with $(PYTHON)"; $(PYTHON) -m venv $(VENV); }
	$(BIN)/python -m pip install --quiet 'maturin>=1.16,<2'
	@mkdir -p $(STAMPS) && touch $@

$(STAMPS)/core: $(STAMPS)/venv $(CORE_SOURCES) pyproject.toml
	@.ci/servers cc
	@command -v cargo >/dev/null || { echo "no Rust toolchain found: see https://rustup.rs"; exit 1; }
	@cargo --version | awk '{ split($$2, v, "."); exit !(v[1] > 1 || v[2] >= 88) }' || \
		{ echo "$$(cargo --version) is too old: Rust 1.88 or newer is needed, see https://rustup.rs"; exit 1; }
	$(BIN)/maturin develop --release --locked --quiet
	@touch $@

$(STAMPS)/tests: $(STAMPS)/core
	$(BIN)/maturin develop --release --locked --quiet --extras dev,load
	@touch $@

$(STAMPS)/generator: $(STAMPS)/venv $(BENCH_SOURCES)
	cargo build --release --locked --quiet --package mmo-bench
	@touch $@
