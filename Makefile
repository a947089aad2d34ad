# Every command of the project. `make demo` and `make test` need nothing but Python 3.11 or later, pip and the network:
# they build the environment in .venv first, and again only when pyproject.toml or constraints.txt has changed.
#   make demo ARGS="--sites 5"      passes arguments on
#   make test PYTHON=python3.12     builds the environment with another Python

PYTHON ?= python3
VENV   ?= .venv
ARGS   ?=
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.installed
PACKAGES := protocols quant secagg
# Two processes on small machines, never more than four: tests that train hold a model each.
PYTEST := $(BIN)/python -m pytest
PARALLEL := --numprocesses auto --maxprocesses 4 --dist worksteal

.DEFAULT_GOAL := help
.PHONY: help setup demo test format lint types fast slow stacks bench reference notebooks api constraints clean

help:  ## show this list
	@sed -n 's/^\([a-z]*\):[^#]*## \(.*\)/  make \1|\2/p' $(firstword $(MAKEFILE_LIST)) \
		| while IFS='|' read -r command text; do printf '%-18s %s\n' "$$command" "$$text"; done

setup: $(STAMP)  ## build the environment in .venv (the other commands do this by themselves)

demo: setup  ## the main job: hospitals train a model, the server sees only the sum
	@$(BIN)/secagg demo $(ARGS)

test: lint types  ## everything that must pass: lint, format, types and the default tests
	@echo "tests: pytest"
	@$(PYTEST) $(PARALLEL) $(ARGS)

format: setup  ## rewrite the code in the house format
	@$(BIN)/ruff check --quiet --fix-only .
	@$(BIN)/ruff format .

lint: setup  ## lint and check the format
	@echo "lint: ruff"
	@$(BIN)/ruff check --quiet .
	@$(BIN)/ruff format --quiet --check . || { echo "the files above are not in the house format: make format"; exit 1; }

types: setup  ## check the types of the three packages
	@echo "types: mypy --strict"
	@$(BIN)/mypy

fast: setup  ## the tests for every save (seconds)
	@$(PYTEST) -m fast $(ARGS)

slow: setup  ## the exhaustive tests
	@$(PYTEST) $(PARALLEL) -m slow $(ARGS)

stacks: setup  ## the adapters inside the engines of their frameworks (see secagg/integrations/README.md)
	@$(PYTEST) -m stacks $(ARGS)

bench: setup  ## measured tables (make bench ARGS=masking)
	@$(BIN)/secagg bench $(ARGS)

reference: setup  ## measure everything on a quiet machine, keep it as the reference, and write the README's figures
	@$(BIN)/secagg bench all --out build/bench
	@$(BIN)/python -m tests.examples.readme_tables build/bench/bench.json

api: setup  ## the reference of every module, from docstrings, in build/api
	@$(BIN)/python -m tests.architecture.api_reference

notebooks: setup  ## run the notebooks again and keep their outputs (make notebooks ARGS=01)
	@$(BIN)/python -m tests.examples.notebooks $(ARGS)

# One pip call; the stamp is written last, so that an interrupted set-up is done again.
$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(None if sys.version_info >= (3, 11) else \
		"secagg needs Python 3.11 or later, this is " + sys.version.split()[0] + ": make PYTHON=python3.11 ...")'
	@test -x $(BIN)/python || { echo "set-up: creating $(VENV)"; $(PYTHON) -m venv $(VENV); }
	@echo "set-up: installing into $(VENV) (a few minutes the first time, PyTorch is large)"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[demo,dev]'
	@touch $@
	@echo "set-up: done"

# Needs uv on the PATH. Pins everything that any extra can bring, together with the two FL stacks that pin narrowly,
# for one machine without a GPU: CUDA packages and local version labels are left out, so that any build of PyTorch fits.
STACKS := flwr==1.41.0 nvflare==2.9.0 torch==2.13.0
constraints:  ## resolve constraints.txt again (needs uv)
	@printf '%s\n' $(STACKS) | uv pip compile --quiet --python-version 3.11 --all-extras --constraint - \
		--no-header --no-annotate --no-emit-index-url --no-emit-find-links pyproject.toml > constraints.tmp
	@{ echo "# Exact versions for a reproducible set-up, resolved for Python 3.11 with every extra and, beside them,"; \
	   echo "# $(STACKS) (make constraints). A constraint installs nothing by itself."; \
	   sed -E '/^(nvidia-|cuda-|triton)/d; s/\+[a-z0-9.]+$$//' constraints.tmp; } > constraints.txt
	@rm constraints.tmp

clean:  ## remove the environment and every cache
	@rm -rf $(VENV) .hypothesis .mypy_cache .pytest_cache .ruff_cache build dist
	@find $(PACKAGES) tests -type d -name __pycache__ -prune -exec rm -rf {} +
