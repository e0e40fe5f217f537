# Everything a contributor runs; it needs Python 3.10 or later, a C compiler and make, and installs into .venv alone.
# `make fuzz` needs Linux, Python 3.11 or later and clang, and installs into .venv-fuzz.
PYTHON ?= python3
JOBS ?= $(shell getconf _NPROCESSORS_ONLN 2>/dev/null || echo 2)
KILLS ?= 100
BIN := $(CURDIR)/.venv/bin
FMKIT := .venv/fmkit
INSTALLED := .venv/installed
BUILT_FROM := pyproject.toml setup.py $(shell find fmcore -name '*.pyx' -o -name '*.px[di]' -o -name '*.h')
SAVE ?= bench.json
WITH_VENV := PATH="$(BIN):$$PATH"
FUZZ_SECONDS ?= 60
FUZZ_TARGETS ?=
FUZZ_BIN := $(CURDIR)/.venv-fuzz/bin
FUZZ_INSTALLED := .venv-fuzz/installed

.PHONY: help develop demo test fuzz kills lint docs bench bench-save bench-compare clean

help:
	@echo "make demo     train, test and look at two models of real data; takes seconds once installed"
	@echo "make test     the whole test suite, on all processors (JOBS=2 for two)"
	@echo "make fuzz     every reader under damaged input for FUZZ_SECONDS=60 each; FUZZ_TARGETS=\"csv json\" for some"
	@echo "make kills    kill and resume training a hundred times (make test: twenty); KILLS=1000 for more"
	@echo "make lint     ruff, cython-lint and mypy"
	@echo "make docs     write docs/commands.md anew from the help pages"
	@echo "make bench    every script in benchmarks/, one after the other, then the table of marks; a quarter of an hour"
	@echo "make bench-save                     the same, with all figures kept in bench.json (SAVE=other.json)"
	@echo "make bench-compare BASE=bench.json  the same again beside what was kept; fails where a figure became worse"
	@echo "make develop  what all of these do first: .venv with this tree and its tools (PYTHON=python3.12 for another)"
	@echo "make clean    remove all that was built, .venv included"

develop: $(INSTALLED)

# Done again only when what is compiled or required has changed; Python files are used where they stand.
$(FMKIT): $(BUILT_FROM)
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable .
	touch $@

# What only tests and linters need is several times as large. This tree is installed by now: nothing is compiled again.
$(INSTALLED): $(FMKIT)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check 'fmkit[test,lint]'
	touch $@

demo: $(FMKIT)
	@$(WITH_VENV) bash demo.sh

test: $(INSTALLED)
	$(BIN)/python -m pytest -n $(JOBS)

fuzz: $(FUZZ_INSTALLED)
	cd tests && $(FUZZ_BIN)/python -m fuzz.driver $(FUZZ_TARGETS) --seconds $(FUZZ_SECONDS)

# The readers under test are those installed here, compiled with sanitizers, not the ones in this tree.
$(FUZZ_INSTALLED): $(BUILT_FROM) $(shell find fmcore -name '*.py')
	@command -v clang > /dev/null || { echo "make fuzz needs clang"; exit 1; }
	test -x $(FUZZ_BIN)/python || $(PYTHON) -m venv .venv-fuzz
	FMKIT_SANITIZE=1 CC=clang $(FUZZ_BIN)/python -m pip install --quiet --disable-pip-version-check '.[fuzz]'
	touch $@

kills: $(INSTALLED)
	FMKIT_TEST_KILLS=$(KILLS) $(BIN)/python -m pytest -s tests/cli/test_cli_kills.py

lint: $(INSTALLED)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check --quiet .
	$(WITH_VENV) cython-lint fmcore
	$(BIN)/mypy

docs: $(INSTALLED)
	$(BIN)/python docs/commands.py

bench: $(INSTALLED)
	@$(WITH_VENV) python benchmarks/suite.py

bench-save: $(INSTALLED)
	@$(WITH_VENV) python benchmarks/suite.py --save $(SAVE)

bench-compare: $(INSTALLED)
	@test -n "$(BASE)" || { echo "which figures? make bench-compare BASE=bench.json"; exit 2; }
	@$(WITH_VENV) python benchmarks/suite.py --base $(BASE)

clean:
	rm -rf .venv .venv-fuzz build dist demo *.egg-info .pytest_cache .ruff_cache .hypothesis
	find fmcore fmcli tests benchmarks docs data -name __pycache__ -prune -exec rm -rf {} +
	find fmcore \( -name '*.so' -o -name '*.c' \) -delete
