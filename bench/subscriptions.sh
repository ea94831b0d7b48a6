#!/usr/bin/env bash
# Sockets that wait for events: memory for each, the way of one event to all of them, 10,000 at once, and what one client
# that never reads costs the others.
#
#   bench/subscriptions.sh [DIR]     DIR: a folder to work in; a temporary one when left out
#
# Starts the server by bench/subject.sh (which says what that needs) and the client by node. SOCKETS (5000), HELD (10000).
# Each measurement is of a server just started, so that one doesn't warm the memory of the next.
set -euo pipefail
cd "$(dirname "$0")/.."

dir=${1:-$(mktemp -d)}
ulimit -n "$(ulimit -Hn)"
# All of them come from one address.
export TODO_SERVER_MAX_CONNECTIONS_PER_ADDRESS=20000
export FILL=${FILL:---organizations 2 --items 1000 --items-each 100}

measure() { # name, then the client's arguments
    local name=$1
    shift
    bench/subject.sh start "$dir/$name" >&2
    # shellcheck disable=SC1091
    . "$dir/$name/env"
    node bench/subscriptions.mjs "$URL" "$TOKEN" "$SERVER_PID" "$@" || true
    bench/subject.sh stop "$dir/$name" >&2
}

measure idle idle "${SOCKETS:-5000}"
measure hold hold "${HELD:-10000}" 60
measure stalled stalled 1000 100
