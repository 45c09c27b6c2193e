# make install | test | test-slow | lint | format | demo | norkyst | report-pictures | waves | baltic | baltic-quick | exchange | compression | benchmark | clean
#
# PYTHON names the interpreter (3.11 or newer; the pinned versions were tried on 3.11, so that one comes first),
# VENV where the environment goes, PIP_FLAGS what pip shall know besides its own configuration, JOBS how many processes
# run the tests.

PYTHON ?= $(shell for candidate in python3.11 python3 python3.13 python3.12; do \
	$$candidate -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && { echo $$candidate; break; }; done)
VENV ?= .venv
PIP_FLAGS ?=
BIN := $(VENV)/bin
STAMP := $(VENV)/installed
TO ?= demo
JOBS ?= auto

.DEFAULT_GOAL := help
.PHONY: help install test test-slow demo norkyst report-pictures norkyst-validation norkyst-ablation norkyst-fading norkyst-comparison waves baltic baltic-quick exchange compression lint format benchmark clean

help:  ## say what can be made
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## */  make \1\t/' | expand -t 20

install: $(STAMP)  ## environment with the pinned versions, this checkout editable in it

# The stamp is made last: an install that broke off is done again, one that ended is not.
$(STAMP): pyproject.toml constraints.txt
	@test -n "$(PYTHON)" || { echo "no Python 3.11 or newer found; install one or say make PYTHON=/path/to/python" >&2; exit 2; }
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check $(PIP_FLAGS) -c constraints.txt -e '.[dev]'
	@touch $@

# Files of tests in as many processes as there are cores; one thread each, or they would stand in each other's way.
test: $(STAMP)  ## every fast test
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(JOBS) --dist loadfile

test-slow: $(STAMP)  ## the long ones: kills by the dozen, experiments from end to end
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m slow -n $(JOBS) --dist loadfile

lint: $(STAMP)  ## style, types and the direction of imports
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(STAMP)  ## let ruff put the code in form
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

demo: $(STAMP)  ## from shipped data to a report, offline
	$(BIN)/oceanop demo --to $(TO)

RESULTS := notebooks/results/norkyst

norkyst: $(STAMP)  ## the README's results: three seeds of each operator, and three ensembles, on the shipped sample
	$(BIN)/oceanop demo --seeds 3 --to runs/norkyst
	cp runs/norkyst/report/scores.csv $(RESULTS)/scores.csv
	$(BIN)/oceanop map runs/norkyst/norkyst-fnotd-seed0.zarr --variable speed --lead 12 \
		--truth runs/norkyst/norkyst.zarr --to $(RESULTS)/map.png

report-pictures: $(STAMP)  ## the README's pictures of the report that 'make norkyst' wrote, at a desk and on a phone; needs chromium
	$(BIN)/python notebooks/report_pictures.py runs/norkyst/report/report.html --to $(RESULTS)

norkyst-validation: $(STAMP)  ## how the shipped settings were chosen, without the test hours
	$(BIN)/python notebooks/norkyst_validation.py --to runs/validation

norkyst-ablation: $(STAMP)  ## what each part of FNOtD is worth, on hours held out of training, three seeds
	$(BIN)/python notebooks/norkyst_ablation.py --to runs/ablation

norkyst-fading: $(STAMP)  ## where the shares of the demonstration's ensemble come from, on hours held out of training
	$(BIN)/python notebooks/norkyst_fading.py --to runs/fading

norkyst-comparison: $(STAMP)  ## FNOtD beside FNOs given all that it has, at equal samples, cost and parameters
	$(BIN)/python notebooks/norkyst_comparison.py --to runs/comparison

waves: $(STAMP)  ## free forecasts of a channel against its dispersion curves: FNOtD beside three FNOs, three seeds
	$(BIN)/python notebooks/channel_waves.py --to runs/waves

# One thread a process: operators and solvers are timed as one thread runs them, and processes share the runs.
BALTIC := OMP_NUM_THREADS=1 $(BIN)/python notebooks/baltic.py

baltic: $(STAMP)  ## the Baltic under storms: FNOtD beside FNOs, wind regression and numerical models, hours
	$(BALTIC) --scale averaged --to runs/baltic-averaged --processes 2
	$(BALTIC) --scale month --to runs/baltic-month --processes 2
	$(BALTIC) --scale ten-days --to runs/baltic-ten-days --processes 2
	$(BALTIC) --scale finer-truth --to runs/baltic-finer-truth --processes 2
	$(BALTIC) --scale full --to runs/baltic --processes 2
	$(BALTIC) --scale fine --to runs/baltic-fine --processes 2

baltic-quick: $(STAMP)  ## the same on means over 60' by 30', one seed, within ten minutes on two cores
	$(BALTIC) --scale quick --to runs/baltic-quick --processes 2

exchange: $(STAMP)  ## the README's exchanges of gradients over slow links; as root, on Linux
	$(BIN)/python -m pytest -m benchmark -s tests/benchmarks/test_gradient_exchange.py

compression: $(STAMP)  ## the README's training curves of gradients in few bits; step times over slow links as root
	$(BIN)/python notebooks/compression_curves.py --to runs/compression
	$(BIN)/python notebooks/compression_curves.py --to runs/compression --times

benchmark: $(STAMP)  ## speed and memory beside peers
	$(BIN)/python -m pytest -m benchmark -s

clean:  ## remove the environment and everything made
	rm -rf $(VENV) build dist .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis demo
	find . -name __pycache__ -not -path './.git/*' -prune -exec rm -rf {} +
