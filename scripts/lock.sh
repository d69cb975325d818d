#!/usr/bin/env bash
# Write constraints.txt: one resolution of every dependency for Python 3.10 to 3.13. `make lock`.
# Versions pinned there now are kept where they still fit; --upgrade takes the newest.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
VENV=${VENV:-.venv}

# uv resolves for Pythons and platforms other than this one, which pip cannot.
"$VENV/bin/python" -m pip --disable-pip-version-check install --quiet uv
requirements=$(mktemp --suffix=.in)
trap 'rm -f "$requirements"' EXIT
"$VENV/bin/python" - >"$requirements" <<'PYTHON'
try:
    import tomllib
except ModuleNotFoundError:  # Python 3.10; pytest brings tomli there
    import tomli as tomllib

# Held back: torch 2.13.0 is the newest release with builds for Python 3.10 to 3.13 and a CPU
# build in common use; users are not held to it (pyproject.toml has no upper bound).
print("torch==2.13.0")
for path in ("pyproject.toml", "clients/python/pyproject.toml"):
    with open(path, "rb") as file:
        project = tomllib.load(file)["project"]
    lists = [project["dependencies"], *project.get("optional-dependencies", {}).values()]
    print(*(line for lines in lists for line in lines if not line.startswith("siren-grpc")), sep="\n")
PYTHON
"$VENV/bin/uv" pip compile --quiet --universal --python-version 3.10 --strip-extras --no-annotate \
    --custom-compile-command "make lock" --output-file constraints.txt "$@" "$requirements"
echo "constraints.txt: $(grep -c == constraints.txt) pins"
