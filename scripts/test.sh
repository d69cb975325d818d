#!/usr/bin/env bash
# Run the tests that need no GPU, and not minutes: `test.sh [OPTIONS OF PYTEST]`.
#
# First those without a server, one process for each core. Then those with one, which need the
# machine for themselves: they speak of times.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
# shellcheck source=scripts/lib.sh
source scripts/lib.sh

NOTHING_SELECTED=5
has_selected=

# tests MARKERS [OPTIONS]: run those; ends the script when one fails.
tests() {
    local code=0
    "${VENV:-.venv}/bin/python" -m pytest -m "not gpu and not long and $1" "${@:2}" || code=$?
    ((code == NOTHING_SELECTED)) && return
    has_selected=1
    ((code == 0)) || exit "$code"
}

# Torch would take all cores for each of the processes.
OMP_NUM_THREADS=1 tests "not e2e" --numprocesses auto --maxprocesses 8 --dist loadfile "$@"
tests e2e "$@"
[[ -n $has_selected ]] || die "no test is selected by: $*"
