#!/usr/bin/env bash
# Every check of style and freshness; runs them all and names those that failed. `make lint`.
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.." || exit
# shellcheck source=scripts/lib.sh
source scripts/lib.sh
BIN=${VENV:-.venv}/bin
PROTO=proto/siren/v1/speech.proto
failed=()

check() {
    local title=$1 output
    shift
    if output=$("$@" 2>&1); then
        say "${green}ok${reset}      $title"
    else
        say "${red}failed${reset}  $title: $*"
        printf '%s\n' "$output" | sed 's/^/        /'
        failed+=("$title")
    fi
}

skip() { say "${yellow}skipped${reset} $1: $2"; }

# The newest release, before the first one main: what the contract may only grow from.
contract_base() {
    git describe --tags --abbrev=0 --match 'v*' 2>/dev/null && return
    local branch
    for branch in origin/main main; do
        git cat-file -e "$branch:$PROTO" 2>/dev/null && echo "$branch" && return
    done
    return 1
}

check_breaking() {
    local base
    if base=$(contract_base); then
        check "buf breaking, against $base" "$BIN/buf" breaking --against ".git#ref=$(git rev-parse "$base")"
    else
        skip "buf breaking" "neither a release tag nor main is here with $PROTO to compare with"
    fi
}

check "ruff check" "$BIN/ruff" check --quiet --output-format concise .
check "ruff format" "$BIN/ruff" format --check --quiet --output-format concise .
check "import rules" "$BIN/lint-imports"
check "buf lint" "$BIN/buf" lint
check "buf format" "$BIN/buf" format --diff --exit-code
check_breaking
check "stubs are fresh" scripts/proto.sh --check
check "docs are fresh" scripts/docs.sh --check
check "hadolint" "$BIN/hadolint" --failure-threshold info Dockerfile
if command -v shellcheck >/dev/null; then
    check "shellcheck" shellcheck --external-sources scripts/*.sh .ci/run
else
    skip "shellcheck" "not installed (apt-get install shellcheck)"
fi

((${#failed[@]} == 0)) || die "${#failed[@]} failed: $(IFS=,; echo "${failed[*]}")"
