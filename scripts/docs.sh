#!/usr/bin/env bash
# Write what the docs derive from the code: the pictures and tables. `make docs`.
# With --check: say which of them is stale and fail.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
PYTHON=${VENV:-.venv}/bin/python
"$PYTHON" docs/figures/draw_architecture.py "$@"
"$PYTHON" scripts/write_configuration_docs.py "$@"
"$PYTHON" scripts/write_metrics_docs.py "$@"
"$PYTHON" scripts/plot_benchmarks.py "$@"
"$PYTHON" scripts/plot_soak.py docs/benchmarks/soak-stream.jsonl docs/figures/soak-stream.svg "$@"
