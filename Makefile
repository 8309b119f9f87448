# Two commands on a fresh machine: `make demo` and `make test`. `make help` lists all.

VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check install --quiet --constraint constraints.txt
export RAGMACS_HOME ?= $(CURDIR)/.demo
PYTEST := $(BIN)/python -m pytest --numprocesses auto --dist loadfile
STOP = $(BIN)/ragmacs serve --stop >/dev/null
unexport PYTHONDONTWRITEBYTECODE  # or every process that a test starts compiles all modules again
QUESTION := Why is my heap about twice as large as my live data?

# The first Python that is new enough and can make a virtual environment.
CHECK := import ensurepip, sys, venv; sys.exit(sys.version_info < (3, 11))
CANDIDATES := $(PYTHON) python3.13 python3.12 python3.11 python3

.PHONY: help demo test test-all lint bench growth clean

help: ## Show the targets
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 12

demo: $(VENV)/core ## Install, index what can be reached, ask a question
	@$(BIN)/ragmacs crawl go-gc || echo "The guide could not be read now: the answer below comes from the handbook."
	@echo; echo '$$ ragmacs ask "$(QUESTION)"'; $(BIN)/ragmacs ask "$(QUESTION)"; code=$$?; $(STOP); exit $$code

test: $(VENV)/dev ## Run the tests that need nothing but Python
	$(PYTEST)

test-all: $(VENV)/dev lint ## Run every test; with CI=1 a suite that cannot run is a failure
	$(PYTEST) -m ""

# One beside that of the virtual environment.
test-all: export TEST_SECOND_GO ?= 1.26.6

lint: $(VENV)/dev ## Check style and types
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

bench: $(VENV)/dev ## Measure speed beside the plain tools, the engines, a hundred clients, extraction and retrieval
	$(BIN)/python tests/bench/speed.py
	$(BIN)/python tests/bench/engines.py
	$(BIN)/python tests/bench/extraction.py
	$(BIN)/python tests/bench/load.py
	$(BIN)/python tests/bench/summaries.py
	$(BIN)/python tests/bench/updates.py
	$(BIN)/python -m pytest -m "" -s tests/bench --ignore tests/bench/test_speed_gate.py

growth: $(VENV)/dev ## Measure search up to a million chunks: an hour on two cores, 8 GB of disk
	$(BIN)/python tests/bench/growth.py

clean: ## Remove what was installed and what the demo indexed
	@test ! -x $(BIN)/ragmacs || $(STOP)
	rm -rf $(VENV) .demo

$(VENV)/core: pyproject.toml constraints.txt | $(BIN)/python
	$(PIP) --editable .
	@touch $@

$(VENV)/dev: pyproject.toml constraints.txt | $(BIN)/python
	$(PIP) --editable '.[dev]'
	@touch $@ $(VENV)/core

$(BIN)/python:
	@for python in $(CANDIDATES); do \
	  if "$$python" -c '$(CHECK)' 2>/dev/null; then echo "using $$(command -v "$$python")"; exec "$$python" -m venv $(VENV); fi; \
	done; \
	echo "No Python 3.11 or newer with venv was found. On Debian: apt install python3-venv" >&2; exit 1
