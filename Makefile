# Everything sets itself up: `make demo` and `make test` need nothing but Python 3.10 to 3.13.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.PHONY: demo test test-slow lint docs bench bench-quick bench-visual glyph local deft clean

demo: $(VENV)/core.stamp
	$(BIN)/labelsieve demo -o demo-out

test: lint
	$(BIN)/pytest -q -m "not slow"

test-slow: $(VENV)/dev.stamp
	$(BIN)/pytest -q

lint: $(VENV)/dev.stamp
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright
	$(BIN)/lint-imports --no-logo
	$(BIN)/interrogate -q src/labelsieve

docs: $(VENV)/docs.stamp
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

bench: $(VENV)/dev.stamp
	$(BIN)/python benchmarks/speed.py

bench-quick: $(VENV)/dev.stamp
	$(BIN)/python benchmarks/speed.py --quick

# What adapting the image encoder costs, beside computing features once (some minutes).
bench-visual: $(VENV)/dev.stamp
	$(BIN)/python benchmarks/visual_tuning.py

# Pre-train the shipped mini-glyph again.
glyph: $(VENV)/dev.stamp
	$(BIN)/python -m recipes.mini_glyph.train -o build/mini-glyph

# Compare methods on real images, human labels first (needs the data; resumable; docs/results/local.md).
local: $(VENV)/dev.stamp
	$(BIN)/python benchmarks/local_suite.py
	$(BIN)/python benchmarks/latent_limits.py
	$(BIN)/python benchmarks/honesty.py

# DeFT's tables on real images (needs the data; every finished cell is kept, so it can be stopped).
deft: $(VENV)/dev.stamp
	$(BIN)/python benchmarks/deft.py
	$(BIN)/python benchmarks/no_class.py

clean:
	rm -rf $(VENV) build dist site demo-out

# The environments: pinned, and made again when a pin or a dependency changes.
$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/core.stamp: $(VENV)/bin/python pyproject.toml constraints.txt
	$(BIN)/python -m pip install -q -c constraints.txt -e .
	touch $@

$(VENV)/dev.stamp: $(VENV)/core.stamp
	$(BIN)/python -m pip install -q -c constraints.txt -e '.[dev]'
	touch $@

$(VENV)/docs.stamp: $(VENV)/core.stamp
	$(BIN)/python -m pip install -q -c constraints.txt -e '.[docs]'
	touch $@
