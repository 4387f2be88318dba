# audit: audit a small model on bundled data · test: every test · quick: without the slow ones
# check: ruff, mypy, layers · study: the README's table on real data
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

$(BIN)/hardlabel: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --constraint constraints.txt --editable .
	@touch $@

$(VENV)/.extras: $(BIN)/hardlabel
	$(BIN)/pip install --quiet --constraint constraints.txt --editable '.[test,check]'
	@touch $@

.PHONY: audit test quick check study clean
audit: $(BIN)/hardlabel
	$(BIN)/hardlabel audit

test: $(VENV)/.extras
	$(BIN)/pytest --numprocesses auto

quick: $(VENV)/.extras
	$(BIN)/pytest --numprocesses auto -m "not slow and not browser"

check: $(VENV)/.extras
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

clean:
	rm -rf $(VENV) build dist src/*.egg-info
