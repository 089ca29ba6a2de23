PYTHON ?= python

.PHONY: install test check format

install:  ## everything that development needs; ffmpeg is a system package
	$(PYTHON) -m pip install -e ".[dev]"

test:
	$(PYTHON) -m pytest

check:
	$(PYTHON) -m ruff format --check .
	$(PYTHON) -m ruff check .
	$(PYTHON) -m mypy

format:
	$(PYTHON) -m ruff format .
	$(PYTHON) -m ruff check --fix .
