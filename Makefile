# audit: audit a small model on bundled data
# quick: the tests that take minutes in all · test: what CI runs, within 20 minutes on two cores; it ends where a test kills its
# process, since the tests of that process would be waited for without limit · long: series of kills
# and studies at small scale, by hand before a larger change is called finished (HARDLABEL_SERVERS names a folder that keeps
# the real servers' environments)
# check: ruff, mypy, layers · paper: the README's tables on real data (HARDLABEL_DATA; an hour)
# bench: speed against the model's own and against ART and Foolbox, into benchmarks/RESULTS.md (HARDLABEL_DATA; hours,
# resumable; on a machine that does nothing else) · bench-quick: whether that runs, in a minute
# docs: the site into site/, strictly and offline; makes the sample reports first if they are missing · samples: makes them anew
# (3 minutes on a core) · packaging: builds the packages and uses them in clean environments, each extra (half an hour)
# study: leakage per query, ours against LiRA and the field, into studies/RESULTS.md (HARDLABEL_DATA; hours, resumable)
# Bytecode is kept: else every process that a test starts compiles all that it imports.
unexport PYTHONDONTWRITEBYTECODE
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

$(BIN)/hardlabel: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --no-compile --constraint constraints.txt --editable .
	@touch $@

$(VENV)/.extras: $(BIN)/hardlabel
	$(BIN)/pip install --quiet --no-compile --constraint constraints.txt --editable '.[test,check,docs,dp]'
	@touch $@

# The peers live apart: nothing of theirs is needed to run or to test hardlabel.
PEERS := .venv-bench
$(PEERS)/.installed: benchmarks/requirements.txt pyproject.toml constraints.txt
	$(PYTHON) -m venv $(PEERS)
	$(PEERS)/bin/pip install --quiet --no-compile --constraint constraints.txt --requirement benchmarks/requirements.txt --editable .
	@touch $@

docs: $(VENV)/.extras docs/samples/.made
	$(BIN)/mkdocs build --strict

docs/samples/.made: docs/samples.py docs/samples.md | $(VENV)/.extras
	$(BIN)/python docs/samples.py --out docs/samples
	@touch $@

samples: $(VENV)/.extras
	$(BIN)/python docs/samples.py --out docs/samples
	@touch docs/samples/.made

packaging:
	$(PYTHON) ci/packaging.py

.PHONY: audit docs samples packaging paper study bench bench-quick test quick long check clean
audit: $(BIN)/hardlabel
	$(BIN)/hardlabel audit --train-size 150

paper: $(BIN)/hardlabel
	$(BIN)/hardlabel audit examples/location.yaml --out runs/paper-location
	$(BIN)/hardlabel audit examples/cifar10.yaml --out runs/paper-cifar10
	$(BIN)/hardlabel show runs/paper-location
	$(BIN)/hardlabel show runs/paper-cifar10

study: $(BIN)/hardlabel
	$(BIN)/python studies/win_per_query.py

bench: $(PEERS)/.installed
	$(PEERS)/bin/python benchmarks/bench.py

bench-quick: $(PEERS)/.installed
	$(PEERS)/bin/python benchmarks/bench.py --quick

test: $(VENV)/.extras
	$(BIN)/pytest --numprocesses auto --dist loadfile --no-loadscope-reorder --max-worker-restart 0

quick: $(VENV)/.extras
	$(BIN)/pytest --numprocesses auto -m "not slow and not browser and not long"

long: $(VENV)/.extras
	$(BIN)/pytest -m long

check: $(VENV)/.extras
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

clean:
	rm -rf $(VENV) $(PEERS) build dist src/*.egg-info
