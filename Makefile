# Every target is the only command that a bare machine needs: Python 3.11 or newer, its venv module and make.
PYTHON ?= python3
BIN := .venv/bin
export DVC_NO_ANALYTICS = 1
export PATH := $(CURDIR)/$(BIN):$(PATH)

.PHONY: repro tables paper test quick browser slurm install check docs clean

repro: install
	python -m pipeline repro

# Every table of the paper: with toy numbers, on a laptop; at the paper's size, on GPUs. params.yaml stays as it is.
tables: install
	python -m pipeline tables toy

paper: install
	python -m pipeline tables paper

# Three workers of one thread each, since many tests wait for processes; the tests of a module stay together.
PYTEST = $(BIN)/python -m pytest -n 3 --dist loadfile --no-loadscope-reorder

test: install browser slurm
	$(PYTEST)

# The inner loop: without the tests that run the graph, open a browser or take seconds each.
quick: install
	$(PYTEST) -m "not graph and not heavy"

# The pages to rate and to draw on are tested in a real browser. In a container (root, Debian) it is installed; elsewhere its tests are skipped.
browser:
	@command -v chromedriver > /dev/null || { [ "$$(id -u)" = 0 ] && command -v apt-get > /dev/null \
	  && { apt-get install -y -qq chromium chromium-driver || { apt-get update -qq && apt-get install -y -qq chromium chromium-driver; }; } \
	  > /dev/null 2>&1; } || echo "no Chromium with chromedriver here: the tests of pages will be skipped"

# Slurm jobs are tested on a Slurm of two nodes that a test starts and ends, by root; elsewhere its tests are skipped.
slurm:
	@{ command -v slurmctld && command -v slurmd && command -v munged; } > /dev/null || { [ "$$(id -u)" = 0 ] && command -v apt-get > /dev/null \
	  && { apt-get install -y -qq --no-install-recommends slurm-wlm munge \
	  || { apt-get update -qq && apt-get install -y -qq --no-install-recommends slurm-wlm munge; }; } > /dev/null 2>&1; } \
	  || echo "no Slurm here: the tests of Slurm jobs will be skipped"

check: install
	$(BIN)/ruff check . && $(BIN)/ruff format --check . && $(BIN)/mypy

# The pages of docs/ as a site that needs no network; a link that leads nowhere stops it.
docs: install
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

install: .venv/installed

.venv/installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable ".[test,check,notebook,docs]"
	touch $@

clean:
	rm -rf .work outputs data/processed data/unlabelled results/figures results/pictures results/cards results/report.html
