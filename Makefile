# The two commands of the README; each sets up what it needs.
PYTHON ?= python3
BIN := .venv/bin
UNLESS_ASKED := and not gpu and not slow and not cluster and not soak

.PHONY: train test paper proofs soak lint

train: .venv/installed
	$(BIN)/llama-gpt4 train run_dir=runs/tiny evaluation.questions=sample:en
	$(BIN)/llama-gpt4 chat model=runs/tiny/model 'prompt=Name the capital city of Portugal.'
	$(BIN)/llama-gpt4 chat model=runs/tiny/model 'prompt=法国的首都是哪座城市？'

# Tests that start several processes each have the cores to themselves.
test: .venv/installed
	$(BIN)/python -m pytest -n 2 --dist loadfile -m "not distributed and not e2e $(UNLESS_ASKED)"
	$(BIN)/python -m pytest -m "(distributed or e2e) $(UNLESS_ASKED)"

# The paper from end to end, offline and in small.
paper: .venv/installed
	OPENAI_API_KEY=none $(BIN)/python -m tests.e2e.paper_in_small runs/paper

# Longer proofs, that a model learns what is claimed.
proofs: .venv/installed
	$(BIN)/python -m pytest -m "slow and not gpu and not cluster"

# One training, disturbed thirty times, twice: eight minutes of two quiet cores.
soak: .venv/installed
	$(BIN)/python -m pytest -m soak -rA

lint: .venv/installed
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy

.venv/installed: pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 12) and "Python 3.11 or 3.12 is needed: make PYTHON=python3.11")'
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet -c constraints.txt -e '.[dev]'
	touch $@
