# Two commands on a fresh machine: `make demo` and `make test`. Both build the virtual environment first.
# Variables: PYTHON (which interpreter), TORCH_INDEX (a package index with CPU builds of torch, where the default index
# would give a CUDA build), RUN (the demo's run folder), MINUTES (what bench-quick may take).

PYTHON ?= $(shell command -v python3.11 || command -v python3.12 || command -v python3.13 || command -v python3.10 || command -v python3)
VENV := .venv
BIN := $(VENV)/bin
RUN ?= runs/demo
READY := $(VENV)/.ready
PIP_INDEX := $(if $(TORCH_INDEX),--extra-index-url $(TORCH_INDEX))

.PHONY: help demo test test-quick check bench bench-quick system test-system native-runner clean

help:
	@echo "make demo        set everything up and run the push button on Fashion-MNIST (about 10 minutes)"
	@echo "make test        set everything up and run all checks and tests (about 15 minutes)"
	@echo "make check       format, lint, types, import contracts"
	@echo "make native-runner   the C runner for arm64 devices without Python, in build/native-aarch64"
	@echo "make bench       all benchmarks (two hours at most; long searches go on from there at the next run)"
	@echo "make bench-quick that every benchmark runs, in its short form (about 8 minutes)"

$(READY): setup.cfg pyproject.toml constraints.txt scripts/setup_system.sh
	@sh scripts/setup_system.sh base "$(PYTHON)"
	$(or $(PYTHON),python3) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check $(PIP_INDEX) -c constraints.txt -e '.[dev]'
	@touch $(READY)

demo: $(READY)
	@sh scripts/setup_system.sh demo
	@OMP_NUM_THREADS=1 $(BIN)/python -m search run --device device_configs/local_cpu_onnxruntime.yaml --preset demo \
		--target 0.6xmobilenetv2 --data "$$(sh scripts/demo_data.sh)" --out $(RUN)

check: $(READY)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

test: $(READY) test-system check
	$(BIN)/python -m pytest -n 2 --dist worksteal -q

test-system: $(READY)
	@sh scripts/setup_system.sh test

native-runner: $(READY)
	@sh profiler_agent/native/build.sh aarch64 build/native-aarch64 $(BIN)/python

bench: $(READY) test-system
	$(BIN)/python -m benchmarks

bench-quick: $(READY) test-system
	$(BIN)/python -m benchmarks --quick $(if $(MINUTES),--minutes $(MINUTES))

clean:
	rm -rf $(VENV) build *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
