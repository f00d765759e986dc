# `make help` lists the targets. Everything happens in .venv; nothing outside the checkout is touched.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
JOBS ?= 2
export PATH := $(CURDIR)/$(BIN):$(PATH)

.DEFAULT_GOAL := help

$(VENV)/.run: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[examples]'
	@touch $@

$(VENV)/.test: $(VENV)/.run
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[examples,kubernetes,otel,pandas,parquet,plot,postgres,ray,dev,server,wandb]'
	@touch $@

$(VENV)/.bench: $(VENV)/.test
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[bench]'
	@touch $@

.PHONY: help run test check format bench chaos soak screenshots services clean

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

run: $(VENV)/.run ## The main job: queue the digits sweep, run it, print its results
	@echo "== queueing sweeps/digits.yaml"
	@launcher add sweeps/digits.yaml
	@echo "== running it, $(JOBS) jobs at a time"
	@launcher agent --drain --max-jobs $(JOBS)
	@echo "== results, best first"
	@launcher results digits

test: $(VENV)/.test ## Every test (those that need a service skip without it)
	$(BIN)/python -m pytest -n $(JOBS) --dist worksteal

check: $(VENV)/.test ## Lint, types, layers
	ruff check .
	ruff format --check .
	mypy
	mypy --explicit-package-bases launcher/_hydra  # Hydra finds it by path: no part of the package
	lint-imports

format: $(VENV)/.test ## Format the code, mend what can be mended by itself
	ruff format .
	ruff check --fix .

bench: $(VENV)/.bench ## Measure the budgets, as ratios against a peer in the same run
	$(BIN)/python -m tests.bench

chaos: $(VENV)/.test ## Break everything on purpose, for half an hour; the figures go into docs/reliability.md
	$(BIN)/python -m tests.chaos

soak: $(VENV)/.test ## Ten minutes of short runs: nothing may grow; the figures go into docs/reliability.md
	$(BIN)/python -m tests.chaos.soak

screenshots: $(VENV)/.test ## Make the pictures of the docs again, from a digits sweep that is run for them
	@scratch=$$(mktemp -d) && trap 'rm -rf "$$scratch"' EXIT && export LAUNCHER_STORE="sqlite:///$$scratch/store.db" && \
		launcher add sweeps/digits.yaml && launcher agent --drain --max-jobs $(JOBS) && \
		launcher plot digits --output docs/digits.png && \
		launcher plot digits --kind heatmap --output docs/digits-heatmap.png
	$(BIN)/python -m tests.web.screenshots

services: ## Install and start what the full suite needs (as root, from Debian packages)
	@ls /usr/lib/postgresql/*/bin/initdb >/dev/null 2>&1 || \
		{ apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq postgresql >/dev/null; }
	@for program in dockerd docker-registry busybox; do command -v $$program >/dev/null || missing=yes; done; test -z "$$missing" || \
		{ apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends \
		docker.io docker-registry busybox-static >/dev/null; }
	@for program in munged slurmctld slurmd slurmdbd mariadbd; do command -v $$program >/dev/null || missing=yes; done; test -z "$$missing" || \
		{ apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends \
		slurm-wlm slurmdbd munge mariadb-server >/dev/null; }
	@command -v tmux >/dev/null || \
		{ apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends tmux >/dev/null; }
	@command -v chromium >/dev/null || \
		{ apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends chromium >/dev/null; }
	@echo "The programs of PostgreSQL, Docker, Slurm, tmux and Chromium are there; the tests start servers of their own"

clean: ## Remove the environment and everything that was built or run
	rm -rf $(VENV) .launcher dist .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
