# Every target is the only command that a bare machine needs: Python 3.11 or newer, its venv module and make.
PYTHON ?= python3
BIN := .venv/bin
export DVC_NO_ANALYTICS = 1
export PATH := $(CURDIR)/$(BIN):$(PATH)

.PHONY: repro test install check clean

repro: install
	python -m pipeline repro

test: install
	$(BIN)/python -m pytest

check: install
	$(BIN)/ruff check . && $(BIN)/ruff format --check . && $(BIN)/mypy

install: .venv/installed

.venv/installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable ".[test,check]"
	touch $@

clean:
	rm -rf .work outputs data/processed results/figures results/report.html
