#!/usr/bin/env bash
# A voice becomes text: start a server, stream the demo recording to it at the pace of speech, stop it.
#
#   DEMO_AUDIO=FILE    another recording (any PCM WAV; default: the one that ships with Siren)
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
# shellcheck source=scripts/lib.sh
source scripts/lib.sh

SIREN=${VENV:-.venv}/bin/siren
AUDIO=${DEMO_AUDIO:-siren_grpc/assets/demo.wav}
LOADING_LIMIT_S=120
STOPPING_LIMIT_S=30
log=$(mktemp)
server=''

fail() {
    say "--- the end of the server's log ---" >&2
    tail -n 30 "$log" >&2
    die "$@"
}

is_running() { [[ -n $server ]] && kill -0 "$server" 2>/dev/null; }

# Whatever happened: no server is left behind.
clean_up() {
    if is_running; then
        kill -TERM "$server"
        for _ in {1..50}; do
            is_running || break
            sleep 0.1
        done
        ! is_running || kill -KILL "$server"
    fi
    rm -f "$log"
}
trap clean_up EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

free_port() {
    "${VENV:-.venv}/bin/python" -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'
}

wait_until_ready() {
    local deadline=$((SECONDS + LOADING_LIMIT_S))
    until "$SIREN" health --server "$1" --wait 5 >/dev/null 2>&1; do
        is_running || fail "the server ended before it was ready"
        ((SECONDS < deadline)) || fail "the server was not ready within $LOADING_LIMIT_S seconds"
    done
}

# SIGTERM, as an init system would; an orderly server ends with status 0.
stop_server() {
    local deadline=$((SECONDS + STOPPING_LIMIT_S)) status=0
    kill -TERM "$server"
    while is_running; do
        ((SECONDS < deadline)) || fail "the server did not stop within $STOPPING_LIMIT_S seconds"
        sleep 0.1
    done
    wait "$server" || status=$?
    ((status == 0)) || fail "the server stopped with status $status"
}

[[ -f $AUDIO ]] || die "there is no recording $AUDIO"
address=127.0.0.1:$(free_port)
say "${bold}Starting the server${reset} on $address (loading the model takes 10 to 30 seconds) ..."
"$SIREN" serve --host 127.0.0.1 --port "${address##*:}" >"$log" 2>&1 </dev/null &
server=$!
wait_until_ready "$address"
say "${bold}Streaming${reset} $AUDIO at the pace of speech:"
"$SIREN" transcribe "$AUDIO" --server "$address" || fail "the recording was not transcribed"
stop_server
say "${green}The server stopped in order.${reset} Next: '$SIREN serve' in one terminal, '$SIREN transcribe your.wav' in another."
