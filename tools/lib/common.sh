# What the tools share: where things are, how they speak, how they fail. Sourced by bash scripts
# that have set `tool` to their own name.
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
cd "$root"
export PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin # where Debian puts servers, but no user's PATH

# One line a step, with the time that it took, on standard output.
step_name='' step_began=0
now_ms() { local t=${EPOCHREALTIME/[.,]/}; echo "${t%???}"; }
step() {
    step_done
    step_name=$1 step_began=$(now_ms)
    printf '%s … ' "$1"
}
step_done() {
    [ -n "$step_name" ] || return 0
    local took=$(($(now_ms) - step_began))
    printf '%s (%d.%01d s)\n' "${1:-done}" $((took / 1000)) $((took % 1000 / 100))
    step_name=''
}
# One clear sentence, and where to read more.
fail() {
    [ -z "$step_name" ] || { step_name=''; printf 'failed\n'; }
    printf '%s: %s\n' "$tool" "$1" >&2
    [ $# -lt 2 ] || printf '%s: the log is %s\n' "$tool" "$2" >&2
    exit 1
}

# --- who the servers run as -----------------------------------------------------------------------

# Servers never run as root. Root starts them as the system user `footlight`; anybody else starts
# them as himself.
service_user=footlight
ensure_service_user() {
    [ "$(id -u)" = 0 ] || { service_user=$(id -un); return 0; }
    getent passwd "$service_user" > /dev/null ||
        useradd --system --user-group --home-dir /nonexistent --no-create-home \
            --shell /usr/sbin/nologin "$service_user" ||
        fail "cannot create the user $service_user for the servers"
}
# Replaces this (sub)shell by the program, as the service user.
exec_as_service() {
    if [ "$(id -u)" = 0 ]; then
        exec setpriv --reuid "$service_user" --regid "$service_user" --clear-groups -- "$@"
    fi
    exec "$@"
}
as_service() { (exec_as_service "$@"); }

# only_one FILE WHAT : at most one of these scripts works in one folder. Holds descriptor 9.
only_one() {
    exec 9> "$1"
    flock -n 9 || fail "another $2 is at work in this folder"
}

# --- processes ------------------------------------------------------------------------------------

# A process is known by its id and its start time, so that a number that was used again is never
# taken for ours.
process_start_time() {
    local stat
    { read -r stat < "/proc/$1/stat"; } 2> /dev/null || return 1
    stat=${stat##*) }
    set -- $stat
    [ "$1" != Z ] || return 1
    echo "${20}"
}
# spawn NAME LOG COMMAND… : starts a server in a session of its own, and notes its id.
spawn() {
    local name=$1 log=$2
    shift 2
    # Not the lock of the script that starts it (descriptor 9).
    ( exec setsid bash -c 'exec "$@"' "$name" "$@" < /dev/null >> "$log" 2>&1 9>&- ) &
    local pid=$!
    disown "$pid"
    printf '%s %s\n' "$pid" "$(process_start_time "$pid" || echo 0)" > "$var/run/pids/$name"
}
spawn_as_service() {
    local name=$1 log=$2
    shift 2
    if [ "$(id -u)" = 0 ]; then
        spawn "$name" "$log" setpriv --reuid "$service_user" --regid "$service_user" --clear-groups -- "$@"
    else
        spawn "$name" "$log" "$@"
    fi
}
# Prints the id if that server runs.
running() {
    local pid began
    { read -r pid began < "$var/run/pids/$1"; } 2> /dev/null || return 1
    [ "$(process_start_time "$pid" || true)" = "$began" ] || return 1
    echo "$pid"
}
# finish NAME SECONDS : asks it to end, waits, then insists.
finish() {
    local pid i
    if pid=$(running "$1"); then
        kill -TERM "$pid" 2> /dev/null || true
        for ((i = 0; i < $2 * 20; i++)); do
            running "$1" > /dev/null || break
            sleep 0.05
        done
        if running "$1" > /dev/null; then kill -KILL "$pid" 2> /dev/null || true; fi
        for ((i = 0; i < 40; i++)); do
            running "$1" > /dev/null || break
            sleep 0.05
        done
    fi
    rm -f "$var/run/pids/$1"
}
# wait_until SECONDS WHAT COMMAND… : polls a condition that nothing announces.
wait_until() {
    local limit=$(($(now_ms) + $1 * 1000)) what=$2
    shift 2
    until "$@" > /dev/null 2>&1; do
        [ "$(now_ms)" -lt "$limit" ] || return 1
        sleep 0.05
    done
}

# --- ports ----------------------------------------------------------------------------------------

# The listener on a local TCP port, as "name (pid N)", or nothing.
port_owner() {
    local hex inode link
    hex=$(printf ':%04X' "$1")
    inode=$(awk -v port="$hex" '$4 == "0A" && substr($2, length($2) - 4) == port { print $10; exit }' \
        /proc/net/tcp /proc/net/tcp6 2> /dev/null)
    [ -n "$inode" ] || return 0
    for link in /proc/[0-9]*/fd/*; do
        if [ "$(readlink "$link" 2> /dev/null || true)" = "socket:[$inode]" ]; then
            local pid=${link#/proc/}
            pid=${pid%%/*}
            echo "$(tr -d '\0' < "/proc/$pid/comm" 2> /dev/null || echo a process) (pid $pid)"
            return 0
        fi
    done
    echo "a process of another user"
}
