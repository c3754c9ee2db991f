# make demo   set up and run the demonstration (about five minutes on two cores)
# make test   set up and run the tests
# make check  set up and run lint, floors and types

PYTHON ?= python3
# Without a package a test of what needs it skips; lm-eval (`eval`) brings half a gigabyte.
EXTRAS ?= test,dev
BIN := .venv/bin
READY := .venv/ready
KERNEL := .venv/kernel

.PHONY: demo test check clean

demo: $(KERNEL)
	$(BIN)/hyena demo

test: $(KERNEL)
	$(BIN)/python -m pytest -n 2

check: $(READY)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/lint-imports
	$(BIN)/mypy

# Set up once; again only when the needs change.
$(READY): pyproject.toml constraints.txt hatch_build.py
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "hyena needs Python 3.11 or newer: make PYTHON=python3.11")'
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[$(EXTRAS)]'
	touch $@

# The set-up builds the kernel; this builds it again when its source has changed. Without a compiler torch computes alone.
$(KERNEL): $(READY) native/build.py $(wildcard native/*.h native/*.cpp)
	$(BIN)/python native/build.py --missing || echo "continuing without the native kernel"
	touch $@

clean:
	rm -rf .venv hyena/ops/native/lib
