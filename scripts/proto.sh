#!/usr/bin/env bash
# Generate the Python stubs of proto/ into clients/python.
#
#   scripts/proto.sh          write them in place
#   scripts/proto.sh --check  write nothing; fail when the committed ones are stale
#
# The generators are those of scripts/proto-requirements.txt and run locally. A
# Python that has exactly these versions is used as it is (PROTO_PYTHON, default
# python3); otherwise they are installed once into a virtual environment of
# their own under the user's cache, because the development environment's newer
# protobuf runtime and the older generator cannot share one.
set -euo pipefail

cd "$(dirname "$0")/.."
requirements=scripts/proto-requirements.txt
out=clients/python

case "${1-}" in
  "") check=false ;;
  --check) check=true ;;
  *)
    echo "usage: scripts/proto.sh [--check]" >&2
    exit 2
    ;;
esac

has_generators() {
  "$1" - "$requirements" 2>/dev/null <<'PY'
import importlib.metadata
import sys

for line in open(sys.argv[1], encoding="utf-8"):
    name, _, version = line.split("#")[0].strip().partition("==")
    if name and importlib.metadata.version(name) != version:
        sys.exit(1)
PY
}

python=${PROTO_PYTHON-python3}
if ! has_generators "$python"; then
  venv=${XDG_CACHE_HOME:-$HOME/.cache}/siren-grpc/proto-$(cksum "$requirements" | cut -d ' ' -f 1)
  if ! has_generators "$venv/bin/python"; then
    echo "Installing the generators of $requirements ..." >&2
    "$python" -m venv --clear "$venv"
    "$venv/bin/python" -m pip install --quiet --requirement "$requirements"
  fi
  python=$venv/bin/python
fi

generated=$(mktemp -d)
trap 'rm -rf "$generated"' EXIT
bin=$(dirname "$("$python" -c 'import sys; print(sys.executable)')")
(
  cd proto
  find . -name '*.proto' | sed 's|^\./||' | LC_ALL=C sort | xargs \
    "$python" -m grpc_tools.protoc --proto_path=. \
    --plugin=protoc-gen-mypy="$bin/protoc-gen-mypy" \
    --plugin=protoc-gen-mypy_grpc="$bin/protoc-gen-mypy_grpc" \
    --python_out="$generated" --grpc_python_out="$generated" \
    --mypy_out=quiet:"$generated" --mypy_grpc_out=quiet:"$generated"
)

# What is compared and replaced: generated files only, py.typed and the like stay.
list() { (cd "$1" && find siren -name '*_pb2*.py*' ! -name '*.pyc' | LC_ALL=C sort); }

if $check; then
  if [ "$(list "$generated")" != "$(list "$out")" ]; then
    echo "The set of stubs in $out does not match proto/." >&2
    echo "Run \`make proto\` and commit the result." >&2
    exit 1
  fi
  list "$generated" | while read -r file; do
    if ! diff -u "$out/$file" "$generated/$file" >&2; then
      echo "$out/$file does not match proto/. Run \`make proto\` and commit the result." >&2
      exit 1
    fi
  done
  echo "The stubs in $out match proto/."
else
  list "$out" | while read -r file; do rm "$out/$file"; done
  cp -R "$generated/." "$out/"
  list "$out" | sed "s|^|wrote $out/|"
fi
