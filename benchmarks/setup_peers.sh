#!/usr/bin/env bash
# Makes .venv-peers, where the peers that rmjax is measured against live apart from it. PYTHON chooses the interpreter.
set -euo pipefail
cd "$(dirname "$0")/.."
"${PYTHON:-python3}" -m venv .venv-peers
.venv-peers/bin/pip install --quiet torch==2.13.0  # first and alone: a resolver with a choice might take a GPU build
.venv-peers/bin/pip install --quiet -r benchmarks/requirements-peers.txt
