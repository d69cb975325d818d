#!/usr/bin/env bash
# Build the image with neither Docker nor a registry, and run its server as a cluster would.
#
#   scripts/check_image.sh FOLDER      as root; takes 25 GB and 10 minutes in FOLDER, which it makes
#
# Buildah (apt-get install buildah debootstrap) runs the steps of Dockerfile; python:3.11-slim is
# stood in for by a Debian 12 that debootstrap makes. The server then runs as user 10001 with a
# read-only root, no capability, a tmpfs at /tmp, and transcribes the demo recording.
#
#   SIREN_TORCH_INDEX=...   as for scripts/setup.sh: an index, a folder of wheels; empty: pip's own
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
# shellcheck source=scripts/lib.sh
source scripts/lib.sh

(($# == 1)) || die "usage: scripts/check_image.sh FOLDER"
((EUID == 0)) || die "this needs root: it makes a Debian, and mounts"
mkdir -p "$1"
FOLDER=$(realpath "$1")
BASE=docker.io/library/python:3.11-slim
NAME=localhost/siren-check
export BUILDAH_ISOLATION=chroot

for program in buildah debootstrap; do
    command -v "$program" >/dev/null || die "$program is missing: apt-get install buildah debootstrap"
done

image_tool() {
    buildah --root "$FOLDER/store" --runroot "$FOLDER/run" --storage-driver vfs "$@"
}

make_base() {
    local root=$FOLDER/base container mirror
    # shellcheck disable=SC2016 # expanded by apt-get
    mirror=$(apt-get indextargets --format '$(REPO_URI)' 2>/dev/null | head -n 1)
    rm -rf -- "$root"
    debootstrap --variant=minbase \
        --include=python3,python3-venv,python3-dev,python-is-python3,ca-certificates \
        bookworm "$root" ${mirror:+"$mirror"} >"$FOLDER/base.log" 2>&1 ||
        die "debootstrap failed: $FOLDER/base.log"
    # As this machine reaches its packages.
    cp /etc/ssl/certs/ca-certificates.crt "$root/etc/ssl/certs/"
    container=$(image_tool from scratch)
    image_tool copy --quiet "$container" "$root/" / >/dev/null
    image_tool commit --quiet "$container" "$BASE" >/dev/null
    image_tool rm "$container" >/dev/null
    rm -rf -- "$root"
}

# pip's configuration of this machine, and a folder of wheels, as the build's steps see them.
build() {
    local arguments=() wheels file
    wheels=$(python3 -m pip config get global.find-links 2>/dev/null || true)
    [[ ! -d $wheels ]] || arguments+=(--volume "$wheels:$wheels:ro")
    [[ ! -d ${SIREN_TORCH_INDEX:-} ]] || arguments+=(--volume "$SIREN_TORCH_INDEX:$SIREN_TORCH_INDEX:ro")
    for file in /etc/pip.conf "$HOME/.config/pip/pip.conf"; do
        [[ ! -f $file ]] || arguments+=(--volume "$file:${file/#$HOME//root}:ro")
    done
    image_tool build --pull=never --network host "${arguments[@]}" \
        --build-arg TORCH_INDEX="${SIREN_TORCH_INDEX:-}" --tag "$NAME" . >"$FOLDER/build.log" 2>&1 ||
        die "the build failed: $FOLDER/build.log"
}

# run_server ROOT PORT: becomes the server, in a mount namespace of its own.
run_server() {
    # shellcheck disable=SC2016 # expanded by the shell within
    exec unshare --mount bash -euc '
        mount --bind "$0" "$0"
        mount --rbind /proc "$0/proc"
        mount -t tmpfs -o mode=1777 tmpfs "$0/tmp"
        mount -o remount,bind,ro "$0"
        exec env -i PATH=/opt/siren/bin:/usr/sbin:/usr/bin:/bin PYTHONUNBUFFERED=1 \
            PYTHONDONTWRITEBYTECODE=1 HF_HOME=/var/lib/siren/models NUMBA_CACHE_DIR=/tmp/numba \
            MPLCONFIGDIR=/tmp/matplotlib XDG_CACHE_HOME=/tmp/cache SIREN_ITN_LANGUAGES=en \
            chroot "$0" setpriv --reuid 10001 --regid 10001 --clear-groups --no-new-privs \
            --bounding-set=-all --inh-caps=-all siren serve --port "$1"
    ' "$1" "$2"
}

say "base: Debian 12 with Python, as $BASE"
image_tool images --quiet "$BASE" 2>/dev/null | grep -q . || make_base
say "build: every step of Dockerfile"
build
image_tool inspect --type image --format '{{.OCIv1.Config}}' "$NAME" >"$FOLDER/config.txt"
grep -q '10001:10001' "$FOLDER/config.txt" || die "the image does not run as 10001:10001"

container=$(image_tool from --pull=never "$NAME")
root=$(image_tool mount "$container")
trap '[[ -z ${server:-} ]] || kill "$server" 2>/dev/null || true; image_tool rm "$container" >/dev/null || true' EXIT
say "run: read-only, as user 10001, no capability"
port=$((20000 + RANDOM % 20000))
run_server "$root" "$port" >"$FOLDER/server.log" 2>&1 &
server=$!
in_image() { chroot "$root" /opt/siren/bin/siren "$@" --server "127.0.0.1:$port"; }
in_image health --wait 180 >/dev/null || die "the server did not become ready: $FOLDER/server.log"
demo=$(cd "$root" && find opt/siren -path '*siren_grpc/assets/demo.wav')
[[ $(in_image transcribe "/$demo" 2>/dev/null) == *"$(cat "siren_grpc/assets/demo.txt")"* ]] ||
    die "the demo recording was not transcribed as it should be"
grep -q Read-only "$FOLDER/server.log" && die "something wrote to the root: $FOLDER/server.log"
kill "$server"
wait "$server" || die "the server stopped with status $?: $FOLDER/server.log"
say "${green}ok${reset}: $NAME, $(image_tool images --format '{{.Size}}' "$NAME")"
