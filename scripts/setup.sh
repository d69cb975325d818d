#!/usr/bin/env bash
# Make the virtual environment that everything else uses: `make setup`.
#
#   VENV=DIR                where (default .venv)
#   PYTHON=COMMAND          which Python 3.10 to 3.13 (default: python3, else the newest that is suitable)
#   SIREN_TORCH_INDEX=...   where to take torch from: an index URL or a folder of wheels, e.g.
#                           https://download.pytorch.org/whl/cpu
#
# Runs again only when one of the files below has changed. A torch that is there already is kept:
# `make clean` first to take it from elsewhere.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
# shellcheck source=scripts/lib.sh
source scripts/lib.sh

VENV=${VENV:-.venv}
PY=$VENV/bin/python
STAMP=$VENV/.siren-setup
LOG_FILE=$VENV.log
INPUTS=(pyproject.toml clients/python/pyproject.toml constraints.txt scripts/setup.sh)

fingerprint() {
    { cat "${INPUTS[@]}" && pwd; } | sha256sum | cut -d' ' -f1
}

is_suitable_version() {
    "$1" -c 'import sys; sys.exit(not (3, 10) <= sys.version_info[:2] <= (3, 13))' 2>/dev/null
}

has_venv() { "$1" -c 'import ensurepip, venv' 2>/dev/null; }

version_of() { "$1" -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null; }

# Print the Python to use, or say on stderr what is missing and how to get it.
find_python() {
    local candidate without_venv=''
    if [[ -n "${PYTHON:-}" ]]; then
        command -v "$PYTHON" >/dev/null || die "PYTHON=$PYTHON is no command here"
        is_suitable_version "$PYTHON" ||
            die "PYTHON=$PYTHON is Python $(version_of "$PYTHON" || echo '?'); Siren needs 3.10 to 3.13"
        has_venv "$PYTHON" || without_venv=$PYTHON
        [[ -n $without_venv ]] || { echo "$PYTHON" && return; }
    else
        for candidate in python3 python3.13 python3.12 python3.11 python3.10; do
            is_suitable_version "$candidate" || continue
            has_venv "$candidate" && echo "$candidate" && return
            without_venv=${without_venv:-$candidate}
        done
    fi
    if [[ -n $without_venv ]]; then
        die "$without_venv has no venv module, which Debian and Ubuntu package separately. Get it with:" \
            "sudo apt-get update && sudo apt-get install -y python$(version_of "$without_venv")-venv"
    elif command -v python3 >/dev/null; then
        die "Siren needs Python 3.10 to 3.13; python3 here is $(version_of python3 || echo 'of an unknown version')." \
            "Install one of those (Debian 12+ and Ubuntu 22.04 to 25.04 have one as python3) and name it:" \
            "make setup PYTHON=python3.12"
    else
        die "Python is missing. Get it with:" "sudo apt-get update && sudo apt-get install -y python3 python3-venv"
    fi
}

# A venv that is broken or of another Python than PYTHON is made anew.
is_usable_venv() {
    [[ -x $PY ]] && is_suitable_version "$PY" && "$PY" -m pip --version >/dev/null 2>&1 &&
        [[ -z "${PYTHON:-}" || $(version_of "$PYTHON") == "$(version_of "$PY")" ]]
}

pip_install() { "$PY" -m pip --disable-pip-version-check --no-input install -c constraints.txt "$@"; }

pinned_torch() { sed -n 's/^torch==\([0-9.]*\).*/\1/p' constraints.txt | head -n 1; }

n_gpus() { nvidia-smi -L 2>/dev/null | grep -c '^GPU' || true; }

# Whether the torch wanted is there: the pinned one, and with CUDA where there is a GPU to use.
has_torch() {
    "$PY" - "$1" "$2" 2>/dev/null <<'PYTHON'
import sys

import torch

version, needs_cuda = sys.argv[1], sys.argv[2] == "cuda"
sys.exit(torch.__version__.split("+")[0] != version or (needs_cuda and torch.version.cuda is None))
PYTHON
}

# The CUDA build with an NVIDIA GPU, else a CPU build where one can be had, else what pip gives.
install_torch() {
    local version gpus build=any
    version=$(pinned_torch)
    gpus=$(n_gpus)
    ((gpus == 0)) || [[ -n "${SIREN_TORCH_INDEX:-}" ]] || build=cuda
    if has_torch "$version" "$build"; then
        say "  torch $version is there already"
    elif [[ -n "${SIREN_TORCH_INDEX:-}" ]]; then
        local source=(--index-url "$SIREN_TORCH_INDEX")
        [[ ! -d $SIREN_TORCH_INDEX ]] || source=(--no-index --find-links "$SIREN_TORCH_INDEX")
        # --no-deps: only torch comes from there, its dependencies from the usual place below.
        run_step "torch $version from SIREN_TORCH_INDEX" pip_install --no-deps "${source[@]}" "torch==$version"
    elif [[ $build == cuda ]]; then
        # === takes the build without a local version (+cpu), which is the one with CUDA.
        run_step "torch $version with CUDA for $gpus GPU (2 to 3 GB, 5 to 10 minutes)" pip_install "torch===$version"
    elif pip_install --no-deps "torch==$version+cpu" >>"$LOG_FILE" 2>&1; then
        say "  torch $version, CPU build found ... ${green}done${reset}"
    else
        note "No CPU build of torch $version for Python $(version_of "$PY") is at hand, so the normal one follows."
        note "It brings CUDA, 2 to 3 GB to fetch; with an index that has a CPU build (200 MB) it is:"
        note "SIREN_TORCH_INDEX=https://download.pytorch.org/whl/cpu make setup"
        run_step "torch $version (2 to 3 GB, 5 to 10 minutes)" pip_install "torch==$version"
    fi
}

main() {
    local want python
    want=$(fingerprint)
    if [[ -f $STAMP && $(<"$STAMP") == "$want" ]] && is_usable_venv; then
        return
    fi
    if ! is_usable_venv; then
        [[ ! -e $VENV || -f $VENV/pyvenv.cfg ]] || die "$VENV exists and is no virtual environment; name another with VENV=DIR"
        python=$(find_python)
    fi
    say "${bold}Setting up Siren in $VENV${reset} (the first time takes 2 to 5 minutes with a CPU build of torch)"
    rm -f "$STAMP"
    : >"$LOG_FILE"
    [[ -z ${python:-} ]] || run_step "virtual environment, Python $(version_of "$python")" "$python" -m venv --clear "$VENV"
    install_torch
    run_step "Siren, NeMo and the development tools (1 to 3 minutes)" \
        pip_install -e 'clients/python[cli]' -e '.[dev,otel]'
    # Not for everybody: it builds C extensions where it finds no wheels.
    if pip_install -e '.[itn]' >>"$LOG_FILE" 2>&1; then
        say "  inverse text normalisation ... ${green}done${reset}"
    else
        note "Inverse text normalisation was left out, and its tests are skipped: it needs a C compiler and"
        note "Python's headers here (sudo apt-get install -y gcc g++ python3-dev). The log is $LOG_FILE."
    fi
    run_step "a check that they fit together" "$PY" -m pip check
    echo "$want" >"$STAMP"
    say "${bold}Ready.${reset} $VENV/bin/siren --help; 'make help' lists what else there is."
}

main
