# Everything a contributor runs; it needs Python 3.10 or later, a C compiler and make, and installs into .venv alone.
PYTHON ?= python3
JOBS ?= $(shell getconf _NPROCESSORS_ONLN 2>/dev/null || echo 2)
KILLS ?= 100
BIN := $(CURDIR)/.venv/bin
INSTALLED := .venv/installed
BUILT_FROM := pyproject.toml setup.py $(shell find fmcore -name '*.pyx' -o -name '*.px[di]' -o -name '*.h')
HELPERS := benchmarks/clicks.py benchmarks/measure.py
BENCHMARKS := $(filter-out $(HELPERS),$(wildcard benchmarks/*.py))
WITH_VENV := PATH="$(BIN):$$PATH"

.PHONY: help develop demo test kills lint docs bench clean

help:
	@echo "make demo     train, test and look at two models of real data; takes seconds once installed"
	@echo "make test     the whole test suite, on all processors (JOBS=2 for two)"
	@echo "make kills    kill and resume training a hundred times (make test: twenty); KILLS=1000 for more"
	@echo "make lint     ruff and cython-lint"
	@echo "make docs     write docs/commands.md anew from the help pages"
	@echo "make bench    every script in benchmarks/, one after the other"
	@echo "make develop  what all of these do first: .venv with this tree and its tools (PYTHON=python3.12 for another)"
	@echo "make clean    remove all that was built, .venv included"

develop: $(INSTALLED)

# Done again only when what is compiled or required has changed; Python files are used where they stand.
$(INSTALLED): $(BUILT_FROM)
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[test,lint]'
	touch $@

demo: $(INSTALLED)
	@$(WITH_VENV) bash demo.sh

test: $(INSTALLED)
	$(BIN)/python -m pytest -n $(JOBS)

kills: $(INSTALLED)
	FMKIT_TEST_KILLS=$(KILLS) $(BIN)/python -m pytest -s tests/test_cli_kills.py

lint: $(INSTALLED)
	$(BIN)/ruff check .
	$(WITH_VENV) cython-lint fmcore

docs: $(INSTALLED)
	$(BIN)/python docs/commands.py

bench: $(INSTALLED)
	@for script in $(BENCHMARKS); do echo; echo "== $$script"; $(WITH_VENV) python $$script || exit 1; done

clean:
	rm -rf .venv build dist demo *.egg-info .pytest_cache .ruff_cache .hypothesis
	find fmcore fmcli tests benchmarks docs data -name __pycache__ -prune -exec rm -rf {} +
	find fmcore \( -name '*.so' -o -name '*.c' \) -delete
