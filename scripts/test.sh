#!/usr/bin/env bash
# Run the tests that need no GPU, and not minutes: `test.sh [OPTIONS OF PYTEST]`.
#
# Those without a server, one process for each core; and beside them those with one, which wait for
# audio at the pace of speech half of their time. These speak of times: the others give way to them.
# Shown one after the other; the first part that fails ends the run.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
# shellcheck source=scripts/lib.sh
source scripts/lib.sh

NOTHING_SELECTED=5
PYTEST=("${VENV:-.venv}/bin/python" -m pytest)
log=$(mktemp)

# With a process group of its own, so that an interrupt reaches pytest, which ends its servers.
set -m
"${PYTEST[@]}" -m "not gpu and not long and e2e" "$@" >"$log" 2>&1 </dev/null &
with_server=$!
set +m
trap 'kill -INT -- "-$with_server" 2>/dev/null || true; wait || true; rm -f "$log"' EXIT

code=0
# Torch would take all cores for each of the processes.
OMP_NUM_THREADS=1 nice "${PYTEST[@]}" -m "not gpu and not long and not e2e" \
    --numprocesses auto --maxprocesses 8 --dist loadfile "$@" || code=$?
((code == 0 || code == NOTHING_SELECTED)) || exit "$code"

tail -n +1 --pid="$with_server" -f "$log"
with_server_code=0
wait "$with_server" || with_server_code=$?
((code == NOTHING_SELECTED && with_server_code == NOTHING_SELECTED)) &&
    die "no test is selected by: $*"
((with_server_code == NOTHING_SELECTED)) || exit "$with_server_code"
