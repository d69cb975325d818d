#!/usr/bin/env bash
# Test the client on every Python 3.10 to 3.13 there is: `make pythons`.
#
# Each gets a new environment with the client's package and what its tests import, and neither
# torch nor NeMo: that it needs none is tested along. Options are pytest's.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
# shellcheck source=scripts/lib.sh
source scripts/lib.sh

TEST_TOOLS=(pytest pytest-asyncio hypothesis cryptography grpcio-health-checking grpcio-status)

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
LOG_FILE=$work/log
n_tested=0
for name in python3.10 python3.11 python3.12 python3.13; do
    # A version manager may have a command for a Python that is not there.
    "$name" -c 'import ensurepip, venv' 2>/dev/null || continue
    say "$name"
    run_step "virtual environment" "$name" -m venv "$work/venv"
    run_step "the client's package" "$work/venv/bin/python" -m pip --disable-pip-version-check --no-input \
        install -c constraints.txt "./clients/python[cli,mic]" "${TEST_TOOLS[@]}"
    # conftest.py of all tests starts servers, which these have none of.
    "$work/venv/bin/python" -m pytest -q -p no:cacheprovider --confcutdir tests/unit tests/unit/client "$@"
    rm -rf "$work/venv"
    n_tested=$((n_tested + 1))
done
((n_tested > 0)) || die "there is no Python 3.10 to 3.13 with venv here"
