# One command per recipe. Everything lives in .venv/ and build/; nothing else is touched.
.DEFAULT_GOAL := help
.PHONY: help demo test check bake pins

PYTHON := .venv/bin/python
BAKE := $(PYTHON) tests/bake.py build
export PATH := $(CURDIR)/.venv/bin:$(PATH)

help:         ## this list
	@grep -E '^[a-z]+: .*##' Makefile | sed -E 's/:.*## / - /'

demo: .venv/ready   ## bake to build/demo afresh and run it here (PORT, default 8000); Ctrl-C stops it
	$(BAKE) project_name=Demo project_slug=demo
	$(MAKE) --no-print-directory -C build/demo run

test: .venv/ready   ## the template's whole suite, the emitted suites included
	$(PYTHON) -m pytest tests

check: .venv/ready  ## lint and format of hooks and tests, then the emitted project's own check
	ruff check hooks tests
	ruff format --check hooks tests
	$(BAKE) project_slug=checked
	$(MAKE) --no-print-directory -C build/checked check

bake: .venv/ready   ## bake to build/<slug>; ANSWERS="project_slug=my_service ci=gitlab"
	$(BAKE) $(ANSWERS)

pins: .venv/ready   ## resolve again and write the exact versions the tests run with
	$(PYTHON) tests/pins.py

.venv/ready: tests/requirements.txt
	@python3 -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "python3 must be 3.11 or newer" >&2; exit 1; }
	python3 -m venv .venv
	$(PYTHON) -m pip install --quiet --requirement tests/requirements.txt
	@touch $@
