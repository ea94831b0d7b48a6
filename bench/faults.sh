#!/usr/bin/env bash
# Everything that fails, in full counts, as one table in Markdown: bench/crashes.py with its journals, and what takes longer
# than a test may: PostgreSQL stopped for minutes, Redis away for a minute, SIGTERM with hundreds of requests and sockets.
#
#   bench/faults.sh [DIR]     DIR: a folder to work in; a temporary one when left out
#
# Ends with 1 when an acknowledged write or an event is lost. Needs what bench/crashes.sh needs, and redis-server. BIN the
# server (target/release/todo-platform), KILLS (50: on each database), RESTARTS (5: of PostgreSQL), FAULTS (10: of disks,
# each), AWAY (120 s without PostgreSQL), REDIS_AWAY (60 s), MANY (200 requests and 200 sockets at SIGTERM), ONLY (names of
# scenarios, see the end of bench/faults.py).
set -euo pipefail
cd "$(dirname "$0")/.."
exec python3 bench/faults.py "${1:-$(mktemp -d)}"
