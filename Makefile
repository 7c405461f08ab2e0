# All targets create and reuse .venv; they need CPython 3.11 or newer, its venv module, and make.

VENV ?= .venv
PYTHON ?=
QUEUED ?= 100000
SECONDS ?= 60
SUITES ?= bookworm trixie
JOBS ?= 4
RUN := $(VENV)/bin/python
EXAMPLE := $(shell find examples/orcha_hello -type f -not -path '*/__pycache__/*' -not -path '*/build/*')

# Where this is set, each of the hundreds of processes that tests start would compile everything anew.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help demo test test-quick test-long lint types imports core-coverage fuzz systemd check format bench clean

help:  ## list the targets
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## */\1\t/' | expand -t 16

$(VENV)/.ready-run: pyproject.toml requirements-dev.txt $(EXAMPLE)
	scripts/setup $(VENV) run $(PYTHON)
	@touch $@

$(VENV)/.ready-test: pyproject.toml requirements-dev.txt $(EXAMPLE)
	scripts/setup $(VENV) test $(PYTHON)
	@touch $(VENV)/.ready-run $@

$(VENV)/.ready-dev: pyproject.toml requirements-dev.txt $(EXAMPLE)
	scripts/setup $(VENV) dev $(PYTHON)
	@touch $(VENV)/.ready-run $(VENV)/.ready-test $@

demo: $(VENV)/.ready-run  ## see it work: stream a petition, kill the service, see what was queued survive
	$(RUN) examples/demo.py

test: $(VENV)/.ready-test  ## run all tests, JOBS at once (T='tests/core -k name' for some)
	$(RUN) -m pytest --processes $(JOBS) $(T)

test-quick: $(VENV)/.ready-test  ## run the tests that are not marked slow
	$(RUN) -m pytest --processes $(JOBS) -m "not slow" $(T)

test-long: $(VENV)/.ready-test  ## run all tests, and more of what chance decides than CI does
	TEST_KILLS=440 TEST_COMMAND_KILLS=48 TEST_STOPS=200 TEST_STORIES=20000 $(RUN) -m pytest --processes $(JOBS) $(T)

lint: $(VENV)/.ready-dev  ## ruff: rules and format
	$(RUN) -m ruff check .
	$(RUN) -m ruff format --check .

types: $(VENV)/.ready-dev  ## mypy --strict
	$(RUN) -m mypy
	MYPYPATH=bench $(RUN) -m mypy bench

imports: $(VENV)/.ready-dev  ## import-linter: who may import whom
	$(VENV)/bin/lint-imports

core-coverage: $(VENV)/.ready-test  ## the pure core's own tests cover all of its branches
	$(RUN) -m coverage run --data-file=.coverage-core --source=orcha._core,orcha._configuration -m pytest -q tests/core tests/configuration
	$(RUN) -m coverage report --data-file=.coverage-core --include='*/orcha/_core/*,*/orcha/_configuration/*' --fail-under=100

fuzz: $(VENV)/.ready-dev  ## let atheris look for inputs that readers cannot stand (SECONDS=60 a target, T='conditions' for some)
	$(RUN) scripts/fuzz --seconds $(SECONDS) $(T)

systemd: $(VENV)/.ready-test  ## try the service under real systemds, in containers (SUITES='bookworm trixie', or trixie-vm by qemu; needs root and mmdebstrap)
	TEST_SYSTEMD="$(SUITES)" $(RUN) -m pytest tests/real_systemd $(T)

check: lint types imports  ## the checks that run no code of ours

format: $(VENV)/.ready-dev  ## let ruff format and fix what it can
	$(RUN) -m ruff check --fix .
	$(RUN) -m ruff format .

bench: $(VENV)/.ready-dev  ## measure, into docs/benchmarks.md (QUEUED=1000000 for a deeper queue, B='noop' for some)
	$(RUN) bench/report.py --queued $(QUEUED) $(B)

clean:  ## remove the environments and what tools left
	rm -rf .venv .venv-* .fuzz .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis .coverage* build dist
