# Everything a contributor runs; it needs Python 3.10 or later, a C compiler and make, and installs into .venv alone.
PYTHON ?= python3
JOBS ?= $(shell getconf _NPROCESSORS_ONLN 2>/dev/null || echo 2)
BIN := $(CURDIR)/.venv/bin
INSTALLED := .venv/installed
BUILT_FROM := pyproject.toml setup.py $(shell find fmcore -name '*.pyx' -o -name '*.px[di]' -o -name '*.h')
SAVE ?= bench.json
WITH_VENV := PATH="$(BIN):$$PATH"

.PHONY: help develop demo test lint docs bench bench-save bench-compare clean

help:
	@echo "make demo     train, test and look at two models of real data; takes seconds once installed"
	@echo "make test     the whole test suite, on all processors (JOBS=2 for two)"
	@echo "make lint     ruff and cython-lint"
	@echo "make docs     write docs/commands.md anew from the help pages"
	@echo "make bench    every script in benchmarks/, one after the other, then the table of marks; a quarter of an hour"
	@echo "make bench-save                     the same, with all figures kept in bench.json (SAVE=other.json)"
	@echo "make bench-compare BASE=bench.json  the same again beside what was kept; fails where a figure became worse"
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

lint: $(INSTALLED)
	$(BIN)/ruff check .
	$(WITH_VENV) cython-lint fmcore

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
	rm -rf .venv build dist demo *.egg-info .pytest_cache .ruff_cache .hypothesis
	find fmcore fmcli tests benchmarks docs data -name __pycache__ -prune -exec rm -rf {} +
	find fmcore \( -name '*.so' -o -name '*.c' \) -delete
