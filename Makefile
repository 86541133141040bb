# Everything a fresh machine with Python 3.11, g++ and make needs: `make demo` and `make test` set up what they use.

SHELL := /bin/bash
.DEFAULT_GOAL := help

VENV := .venv
BIN := $(VENV)/bin
PY := $(BIN)/python

# pyproject.toml states a range; an unpinned torch would fetch gigabytes of CUDA.
TORCH ?= torch==2.13.0
# What is installed at first; the rest follows where it is needed.
EXTRAS ?= test,examples
PYTEST_ARGS ?=
BENCH_ARGS ?=
ADBENCH ?=
JOBS ?= 2
# Seconds after which the tests on a GPU are stopped, with a report of those that failed; none where it is empty.
LIMIT ?=

PIP := $(PY) -m pip --disable-pip-version-check --quiet
INSTALLED := $(VENV)/.installed
DEV := $(VENV)/.installed-dev
DOCS := $(VENV)/.installed-docs
CORE := build/.core
CORE_SOURCES := $(wildcard ksc/torch/*.py ksc/torch/csrc/* prelude/ks/* prelude/ks/cuda/device.h)
export PATH := $(abspath $(BIN)):$(PATH)

.PHONY: help demo test test-gpu docs opinfo sanitize bench bench-gpu lint format typecheck check wheel clean distclean doctor

help: ## say what there is to make
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "make %-10s %s\n", $$1, $$2}'

demo: $(CORE) ## from relu3 to a trained network
	$(PY) -m ksc demo

test: $(CORE) ## run all tests; PYTEST_ARGS="-k relu3" and the like narrow them, JOBS=1 runs them one by one
	$(PY) -m pytest -n $(JOBS) --dist loadfile --no-loadscope-reorder $(PYTEST_ARGS)

# What looks for races, and what nvcc says, has tests of its own that need no GPU.
GPU_TESTS := $(addprefix tests/,cuda/test_grid.py cuda/test_products.py cuda/test_rows.py cuda/test_lanes.py cuda/test_programs.py exports/test_export_cuda.py)
# PyTorch's way to the kernels; without a GPU test_dispatch.py runs them on a device that is pretended.
GPU_CHECKS := $(addprefix tests/cuda/pretend/,checks.py library.py on_gpu.py suite.py)

test-gpu: $(CORE) ## run the kernels of the tests on a GPU, compiled with nvcc or NVRTC, and compare them with the CPU; JOBS=16 for more processes, LIMIT=540 for so many seconds
	KSC_TEST_GPU=1 $(if $(LIMIT),timeout --foreground --signal=INT --kill-after=60 $(LIMIT)) \
	$(PY) -m pytest -n $(JOBS) --dist loadgroup --tb=short $(GPU_TESTS) $(GPU_CHECKS) $(PYTEST_ARGS)

docs: $(DOCS) $(CORE) ## build/doc/html/index.html: the site, warnings being errors
	$(PY) -m sphinx -W --keep-going -E -q -b html -d build/doc/doctrees docs build/doc/html
	@echo build/doc/html/index.html

# Without optimisation nothing is optimised away that a sanitizer would see, and a build takes a quarter of the time.
SANITIZE := -O0 -g1 -fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer
# An allocation that is refused is an error that kernels report, and not the end.
SANITIZER_OPTIONS := detect_leaks=0:detect_stack_use_after_return=0:allocator_may_return_null=1
SANITIZED ?= tests

sanitize: $(INSTALLED) ## run all tests, generated code and core under AddressSanitizer and UBSan; SANITIZED=tests/codegen a part
	KSC_COMPILE_FLAGS="$(SANITIZE)" KSC_CORE_FLAGS="$(SANITIZE)" ASAN_OPTIONS=$(SANITIZER_OPTIONS) \
	LD_PRELOAD="$$($${CXX:-g++} -print-file-name=libasan.so) $$($${CXX:-g++} -print-file-name=libubsan.so)" \
	$(PY) -m pytest -n $(JOBS) --dist loadfile -p no:faulthandler $(SANITIZED) $(PYTEST_ARGS)

opinfo: $(INSTALLED) ## put PyTorch's own samples through kernels; build/doc/opinfo.md says what became of them
	$(PY) -m tests.ops.opinfo.report

bench: $(CORE) ## time kernels beside their peers, JAX, Numba and Warp too after `pip install -e .[bench]`; BENCH_ARGS="--kernels relu3 --threads 1" narrows it
	$(PY) -m ksc.bench $(BENCH_ARGS)
	$(PY) examples/adbench/compare.py $(ADBENCH)
	$(PY) -m ksc.bench.startup

bench-gpu: $(CORE) ## time kernels on a GPU beside PyTorch's; BENCH_ARGS="--only vsqrl" narrows it
	$(PY) -m ksc.bench.gpu $(BENCH_ARGS)

doctor: $(INSTALLED) ## say what is there and what is missing
	$(PY) -m ksc doctor

lint: $(DEV) ## ruff, without changing anything
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .

format: $(DEV) ## ruff, changing files
	$(PY) -m ruff check --fix .
	$(PY) -m ruff format .

typecheck: $(DEV) ## mypy --strict, of the package and of functions that its users decorate
	$(PY) -m mypy
	$(PY) -m mypy tests/typing/decorated.py

# One pip at a time, before what runs side by side.
check: $(DEV) $(DOCS) $(CORE) ## lint, typecheck and docs at once
	$(MAKE) --no-print-directory --jobs $(JOBS) --output-sync=target lint typecheck docs

wheel: $(INSTALLED) ## dist/ksc-*.whl
	rm -rf build/setuptools
	$(PIP) wheel --no-deps --wheel-dir dist .

clean: ## remove what was built
	rm -rf build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis .benchmarks
	find ksc tests examples -name __pycache__ -type d -prune -exec rm -rf {} +

distclean: clean ## remove the virtual environment too
	rm -rf $(VENV)

$(PY):
	@for python in $(PYTHON) python3.11 python3 python3.12 python3.13; do \
	    if $$python -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then found=$$python; break; fi; \
	done; \
	if [ -z "$$found" ]; then \
	    echo 'Python 3.11 or newer is needed; name it with `make PYTHON=/path/to/python3.11`.' >&2; exit 1; \
	fi; \
	$$found -m venv $(VENV) || { \
	    rm -rf $(VENV); \
	    echo "$$found cannot make a virtual environment; on Debian and Ubuntu: apt-get install python3-venv" >&2; exit 1; \
	}

$(INSTALLED): pyproject.toml setup.py | $(PY)
	@command -v $${CXX:-g++} >/dev/null || { \
	    echo 'A C++ compiler is needed; on Debian and Ubuntu: apt-get install g++' >&2; exit 1; \
	}
	@echo 'Installing $(TORCH) and the rest into $(VENV) (a few minutes the first time)'
	$(PIP) install '$(TORCH)'
	$(PIP) install -e '.[$(EXTRAS)]' '$(TORCH)'
	@touch $@ $(if $(findstring dev,$(EXTRAS)),$(DEV)) $(if $(findstring docs,$(EXTRAS)),$(DOCS))

$(DEV): $(INSTALLED)
	$(PIP) install -e '.[dev]' '$(TORCH)'
	@touch $@

$(DOCS): $(INSTALLED)
	$(PIP) install -e '.[docs]' '$(TORCH)'
	@touch $@

$(CORE): $(INSTALLED) $(CORE_SOURCES)
	$(PY) -m ksc.torch.build_core
	@mkdir -p build && touch $@
