#!/usr/bin/env bash
# Makes .venv-peers, where the peers that rmjax is measured against live apart from it. PYTHON chooses the interpreter.
set -euo pipefail
cd "$(dirname "$0")/.."
"${PYTHON:-python3}" -m venv .venv-peers
.venv-peers/bin/pip install --quiet torch==2.13.0  # first and alone: a resolver with a choice might take a GPU build
.venv-peers/bin/pip install --quiet -r benchmarks/requirements-peers.txt
# What can't run here (without a GPU, or with this transformers) lies apart, without what it depends on: of it the tests
# import single modules. OpenRLHF's wheel is Python alone, though its name is of one version and platform.
.venv-peers/bin/pip install --quiet --no-deps --upgrade --target=.venv-peers/openrlhf --only-binary=:all: \
  --python-version=3.11 --platform=manylinux1_x86_64 openrlhf==0.11.2
.venv-peers/bin/pip install --quiet --no-deps --upgrade --target=.venv-peers/rewardbench rewardbench==0.1.4
