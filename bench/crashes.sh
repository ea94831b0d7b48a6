#!/usr/bin/env bash
# Writers beside crashes: is what was acknowledged still there? Eight clients create and change items and keep a journal of
# every answer, while the server is killed, PostgreSQL is killed and restarted, the disk fills up and fails. At the end
# each journal is compared with what the server answers.
#
#   bench/crashes.sh [DIR]     DIR: a folder to work in; a temporary one when left out
#
# Prints a table; ends with 1 when a write is lost. Needs python3, PostgreSQL's binaries, and for the failing disks
# `prlimit` and `unshare` (a scenario that can't run says so). BIN the server (target/release/todo-platform), KILLS (50),
# FAULTS (10: of PostgreSQL and of disks, each), ONLY ("sqlite-kill postgres-kill postgres-crash sqlite-full
# sqlite-io-error": what is run).
set -euo pipefail
cd "$(dirname "$0")/.."
exec python3 bench/crashes.py "${1:-$(mktemp -d)}"
