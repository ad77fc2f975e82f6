# One virtual environment for everything; `make demo` and `make test` need python3 and make only.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
export OMP_NUM_THREADS ?= 2
export HF_HUB_OFFLINE ?= 1

.PHONY: demo test lint check format bench reference reference-smol clean

$(READY): pyproject.toml constraints.txt
	test -d $(VENV) || $(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	touch $@

demo: $(READY) ## Quantize the bundled LVLM to 4 bits and compare methods
	$(BIN)/qvlm compare pico-llava --recipe w4a4 --limit 300 --output runs/demo --overwrite
	$(BIN)/qvlm inspect runs/demo/recipe

test: $(READY) ## All fast tests
	$(BIN)/pytest -m 'not slow'

lint: $(READY) ## Formatter, linter, type checker, import contracts
	$(BIN)/ruff format --check src tests benchmarks examples
	$(BIN)/ruff check src tests benchmarks examples
	$(BIN)/mypy src
	$(BIN)/lint-imports

check: lint test ## What has to pass before a change goes in

format: $(READY) ## Rewrite files as the formatter wants them
	$(BIN)/ruff format src tests benchmarks examples
	$(BIN)/ruff check --fix src tests benchmarks examples

bench: $(READY) ## Slow tests and the figures in benchmarks/
	$(BIN)/pytest -m slow
	$(BIN)/python benchmarks/accuracy/run.py
	$(BIN)/python benchmarks/equality/run.py
	$(BIN)/python benchmarks/analysis/run.py

reference: $(READY) ## Train pico-llava again (under an hour on 2 cores)
	$(BIN)/python -m qvlm.reference.train --output runs/reference --seed 0

reference-smol: $(READY) ## Train smol-llava's own parts again (about 80 minutes of one core)
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev,smol]'
	OMP_NUM_THREADS=1 $(BIN)/python -m qvlm.reference.smol.train --output runs/smol-llava --seed 0

clean:
	rm -rf $(VENV) build runs
