# `make train` and `make test` set up what they need; PYTHON chooses the interpreter the environment is made from.
PYTHON ?= python3
VENV ?= .venv
TPU_VENV ?= .venv-tpu
BIN := $(VENV)/bin
STEPS ?= 600
WORKDIR ?= runs/quick_helpfulness_$(STEPS)

.PHONY: setup train test test-tpu test-gpu test-peers lint clean

setup: $(VENV)/ready

$(VENV)/ready: requirements.txt requirements-dev.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --upgrade pip
	$(BIN)/pip install --quiet --no-compile -r requirements-dev.txt
	touch $@

# The helpfulness experiment with fewer steps, then its report. On Linux with huge pages (BUILD.md).
train: export GLIBC_TUNABLES ?= glibc.malloc.hugetlb=1
train: setup
	$(BIN)/python -m rmjax.train --config=experiments/helpfulness.py --workdir=$(WORKDIR) \
	  --config.steps=$(STEPS) --config.evaluate_every=200
	$(BIN)/python -m rmjax.evaluate --workdir=$(WORKDIR) --data=synthetic/helpfulness:test --report=$(WORKDIR)/report

test: setup
	$(BIN)/pytest -n 2 --dist loadfile --no-loadscope-reorder --ignore-glob='*/test_peers_*.py'

# The TPU compiler, which needs no TPU, in an environment of its own.
test-tpu: $(TPU_VENV)/ready
	$(TPU_VENV)/bin/pytest tests/test_tpu_*.py

$(TPU_VENV)/ready: requirements.txt requirements-dev.txt requirements-tpu.txt
	$(PYTHON) -m venv $(TPU_VENV)
	$(TPU_VENV)/bin/pip install --quiet --upgrade pip
	$(TPU_VENV)/bin/pip install --quiet --no-compile -r requirements-dev.txt -r requirements-tpu.txt
	touch $@

# On an NVIDIA GPU, with jax's CUDA plugin in the environment (BUILD.md).
test-gpu: setup
	RMJAX_TEST_PLATFORM=cuda $(BIN)/pytest tests/test_gpu_*.py

# Against transformers, TRL, OpenRLHF and RewardBench, in an environment of its own.
test-peers: setup .venv-peers/ready
	$(BIN)/pytest tests/test_peers_*.py

.venv-peers/ready: benchmarks/setup_peers.sh benchmarks/requirements-peers.txt
	PYTHON=$(PYTHON) benchmarks/setup_peers.sh
	touch $@

lint: setup
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/pyright

clean:
	rm -rf $(VENV) $(TPU_VENV) runs .pytest_cache .ruff_cache
