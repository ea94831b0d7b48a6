#!/usr/bin/env bash
# Every benchmark of this folder whose figures are in docs/, one after the other, with the release build: an hour and more.
#
#   bench/all.sh [DIR]       DIR: where what they print goes, a file each; a temporary folder when left out
#
# Needs what they need (see each), and some GB. BIN: the binary. ONLY: names, such as "requests repeated".
set -euo pipefail
cd "$(dirname "$0")/.."

dir=${1:-$(mktemp -d)}
mkdir -p "$dir"
[ -n "${BIN:-}" ] || cargo build --release --locked
export BIN=${BIN:-target/release/todo-platform}
failed=0
for name in ${ONLY:-requests repeated documents limits sign-in-timing bulk search growth subscriptions webhooks import attacks faults soak}; do
    printf '%s … ' "$name"
    begun=$SECONDS
    if bench/"$name".sh >"$dir/$name.txt" 2>"$dir/$name.err"; then said=ok; else said=FAILED failed=1; fi
    printf '%s, %s s: %s\n' "$said" "$((SECONDS - begun))" "$dir/$name.txt"
done
exit "$failed"
