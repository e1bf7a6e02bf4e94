# Everything runs inside .venv; PATH is exported because DVC starts stages as `python …`.
SHELL := /bin/bash
PYTHON ?= python3
export PATH := $(CURDIR)/.venv/bin:$(PATH)

.PHONY: demo test check fuzz requirements help

help:
	@echo "make demo          environment, every stage on embedded data, Table 1 and the report (20 minutes on two cores)"
	@echo "make test          environment, tests"
	@echo "make check         environment, ruff, mypy, import-linter"
	@echo "make fuzz          200,000 damaged DICOM files against the reader (about 6 minutes); FIRST=N for others"
	@echo "make requirements  compile requirements*.txt from pyproject.toml"

# The stamp is the file that pip writes last: an interrupted installation is started again.
.venv/.installed: requirements.txt requirements-dev.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "make: $(PYTHON) is older than 3.11; name another one: make PYTHON=python3.12 $(MAKECMDGOALS)" >&2; exit 2; }
	$(PYTHON) -m venv .venv
	.venv/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.txt -r requirements-dev.txt
	@touch $@

demo: .venv/.installed
	@test -d .dvc || { echo "make: .dvc is missing; run make demo in a checkout of the repository" >&2; exit 2; }
	dvc repro
	@python pipeline.py table

test: .venv/.installed
	python -m pytest --numprocesses logical --maxprocesses 8 --dist loadfile --no-loadscope-reorder

check: .venv/.installed
	ruff check .
	ruff format --check .
	mypy
	lint-imports

FIRST ?= 1000000
fuzz: .venv/.installed
	@mkdir -p work
	python tests/ct/fuzz.py $(FIRST) 200000 > work/fuzz.txt || { tail -n 1 work/fuzz.txt; exit 1; }
	@tail -n 1 work/fuzz.txt

requirements:
	test -x .venv-lock/bin/uv || { $(PYTHON) -m venv .venv-lock && .venv-lock/bin/pip install --quiet uv; }
	.venv-lock/bin/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header \
		pyproject.toml -o requirements.txt
	.venv-lock/bin/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header \
		--group dev -c requirements.txt -o requirements-dev.txt
