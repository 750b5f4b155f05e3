# Every target is the only command that a bare machine needs: Python 3.11 or newer, its venv module and make.
PYTHON ?= python3
BIN := .venv/bin
export DVC_NO_ANALYTICS = 1
export PATH := $(CURDIR)/$(BIN):$(PATH)

.PHONY: repro test browser install check clean

repro: install
	python -m pipeline repro

test: install browser
	$(BIN)/python -m pytest

# The rating form is tested in a real browser. In a container (root, Debian) it is installed; elsewhere its tests are skipped.
browser:
	@command -v chromedriver > /dev/null || { [ "$$(id -u)" = 0 ] && command -v apt-get > /dev/null \
	  && { apt-get install -y -qq chromium chromium-driver || { apt-get update -qq && apt-get install -y -qq chromium chromium-driver; }; } \
	  > /dev/null 2>&1; } || echo "no Chromium with chromedriver here: the tests of the rating form will be skipped"

check: install
	$(BIN)/ruff check . && $(BIN)/ruff format --check . && $(BIN)/mypy

install: .venv/installed

.venv/installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable ".[test,check]"
	touch $@

clean:
	rm -rf .work outputs data/processed results/figures results/pictures results/cards results/report.html
