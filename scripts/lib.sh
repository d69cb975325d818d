# Shared by the scripts beside it: colours, steps with a log, messages. Source it; set LOG_FILE for run_step.
# shellcheck shell=bash disable=SC2034 # colours are for those that source this

if [[ -t 1 && -z "${NO_COLOR:-}" ]]; then
    bold=$'\e[1m' green=$'\e[32m' yellow=$'\e[33m' red=$'\e[31m' reset=$'\e[0m'
else
    bold='' green='' yellow='' red='' reset=''
fi

say() { printf '%s\n' "$*"; }
note() { printf '%s! %s%s\n' "$yellow" "$*" "$reset"; }
die() {
    printf '%serror:%s %s\n' "$red" "$reset" "$1" >&2
    shift
    (($# == 0)) || printf '       %s\n' "$@" >&2
    exit 1
}

# run_step TITLE COMMAND...: run the command with its output in $LOG_FILE; show its end if it fails.
run_step() {
    local title=$1 start=$SECONDS
    shift
    printf '  %s ... ' "$title"
    if "$@" >>"$LOG_FILE" 2>&1; then
        printf '%sdone%s (%ds)\n' "$green" "$reset" "$((SECONDS - start))"
    else
        printf '%sfailed%s\n' "$red" "$reset"
        say "--- the end of $LOG_FILE ---" >&2
        tail -n 30 "$LOG_FILE" >&2
        die "'$title' failed; the whole log is in $LOG_FILE"
    fi
}
