# Everything a fresh machine needs: python3 (3.11), make and git. The rest is fetched by pip, node among
# it, and by npm.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.ready
BENCH_STAMP := $(VENV)/.ready-to-bench
TS_STAMP    := sdk/typescript/node_modules/.ready
NPM         := PATH="$(CURDIR)/$(BIN):$$PATH" npm --prefix sdk/typescript --loglevel=error

.DEFAULT_GOAL := help
.PHONY: help setup run test sim chaos outages check format contracts bench clean

help: ## list the targets
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F':.*## ' '{printf "  make %-10s %s\n", $$1, $$2}'

# The pins are part of the stamp's prerequisites: a changed pin makes a new environment, nothing else does.
$(STAMP): pyproject.toml constraints.txt sdk/python/pyproject.toml
	@echo "setup: preparing $(VENV) (a minute or two the first time)"
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]' \
	  -e 'sdk/python[kafka,langchain,openai-agents]'
	@touch $@
	@echo "setup: ready"

$(TS_STAMP): sdk/typescript/package.json sdk/typescript/package-lock.json | $(STAMP)
	@echo "setup: fetching what checks the TypeScript client (a quarter of a minute)"
	@$(NPM) ci --ignore-scripts
	@touch $@

setup: $(STAMP) $(TS_STAMP) ## prepare .venv, and what checks TypeScript (quick when nothing changed)

run: $(STAMP) ## start Kafka, Postgres and a node on http://127.0.0.1:4000, and show a conversation
	@echo "run: rewindow up --demo (Ctrl-C stops it, the data stay in .rewindow)"
	@$(BIN)/rewindow up --demo

# Most tests wait more than they work, so two go at a time; those of a file in one process.
test: check ## every check, then every test, on a real broker and a real Postgres
	@echo "test: pytest, two files at a time"
	@$(BIN)/python -m pytest --numprocesses 2 --dist loadfile --no-loadscope-reorder

sim: setup ## play thousands of simulated worlds (REWINDOW_SIM_SEED=n plays one again)
	@$(BIN)/python -m tests.simulation

chaos: setup ## kill, pause and empty real servers for REWINDOW_CHAOS_MINUTES=15 (REWINDOW_CHAOS_SEED=n does it again)
	@$(BIN)/python -m tests.chaos

outages: setup ## the broker away for two minutes, and Postgres for ten
	@REWINDOW_OUTAGE_S=120 $(BIN)/python -m pytest tests/integration/test_outages.py -k broker
	@REWINDOW_OUTAGE_S=600 $(BIN)/python -m pytest tests/integration/test_outages.py -k postgres

check: setup ## lint, format, types and the directions of imports; the same of TypeScript
	@echo "check: ruff";         $(BIN)/ruff check . && $(BIN)/ruff format --check .
	@echo "check: mypy";         $(BIN)/mypy
	@echo "check: import-linter"; $(BIN)/lint-imports --no-cache
	@echo "check: typescript";   $(NPM) run --silent check

format: setup ## format the code and mend what the linter can
	@$(BIN)/ruff check --fix --quiet . ; $(BIN)/ruff format .
	@$(NPM) run --silent format

contracts: setup ## write schemas/*.json anew from the code, and the types of TypeScript
	@$(BIN)/python -m rewindow.contracts
	@$(NPM) run --silent contracts

$(BENCH_STAMP): $(STAMP)
	@echo "bench: installing what it is measured beside, and what draws (half a minute the first time)"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev,bench]'
	@touch $@

bench: $(BENCH_STAMP) ## measure, side by side, in ten minutes, and write bench/results/
	@$(BIN)/python -m bench

clean: ## remove the environment and the data folder
	@rm -rf $(VENV) .rewindow sdk/typescript/node_modules
