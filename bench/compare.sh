#!/usr/bin/env bash
# Two builds of the server beside each other: rates and p99 of the board page, one item with its comments, a create, and
# `{ __typename }`, in turns, as ratios within each round. What a change costs, or gains.
#
#   bench/compare.sh BEFORE AFTER [DIR]     two binaries; DIR: a folder to work in, a temporary one when left out
#
# Each has a database of its own with the same volumes, by bench/subject.sh (which says what that needs); needs wrk.
# DATABASES ("sqlite postgres"), QUERIES ("board item create hello"), ROUNDS (5), SECONDS_EACH (4), CONNECTIONS_EACH ("16 1", of wrk).
set -euo pipefail
cd "$(dirname "$0")/.."

before=$(realpath "${1:?the binary before}")
after=$(realpath "${2:?the binary after}")
dir=${3:-$(mktemp -d)}
mkdir -p "$dir"
export FILL=${FILL:---organizations 2 --items 10000 --items-each 100}

started=()
stop() { for subject in "${started[@]}"; do bench/subject.sh stop "$subject" >&2 || true; done; }
trap stop EXIT

# measure SUBJECT QUERY CONNECTIONS SECONDS
measure() {
    local threads=2
    [ "$3" -gt 1 ] || threads=1
    (
        # shellcheck disable=SC1091
        . "$1/env"
        export TOKEN BODY=$1/queries/$2.json
        wrk -t"$threads" -c"$3" -d"$4s" -s bench/post.lua "$URL/graphql" | grep '^rate='
    )
}

: >"$dir/rounds"
for database in ${DATABASES:-sqlite postgres}; do
    for side in before after; do
        started+=("$dir/$database-$side")
        BIN=${!side} DATABASE=$database bench/subject.sh start "$dir/$database-$side" >&2
    done
    for connections in ${CONNECTIONS_EACH:-16 1}; do
        for query in ${QUERIES:-board item create hello}; do
            for side in before after; do measure "$dir/$database-$side" "$query" "$connections" 1 >/dev/null; done # warm
            for round in $(seq "${ROUNDS:-5}"); do
                # Who goes first alternates: the second finds the disk busier.
                sides="before after"
                [ $((round % 2)) = 1 ] || sides="after before"
                for side in $sides; do
                    echo "$database $connections $query $round $side $(measure "$dir/$database-$side" "$query" "$connections" "${SECONDS_EACH:-4}")"
                done
            done
        done
    done | tee -a "$dir/rounds" >&2
    stop
    started=()
done

python3 - "$dir/rounds" <<'PY'
import statistics, sys
found = {}
for line in open(sys.argv[1]):
    database, connections, query, _, side, *figures = line.split()
    figures = dict(figure.split("=") for figure in figures)
    if figures["bad"] != "0":
        sys.exit(f"failed requests: {line}")
    found.setdefault((database, connections, query), {}).setdefault(side, []).append(figures)
print(f"{'database':9} {'conn.':>5} {'query':7} {'rate/s':>17} {'after ÷ before, by round (median, min–max)':>44} {'p50 ms':>15} {'p99 ms':>15}")
for (database, connections, query), sides in found.items():
    values = lambda side, what: [float(figures[what]) for figures in sides[side]]
    median = lambda side, what: statistics.median(values(side, what))
    ratios = [b / a for a, b in zip(values("before", "rate"), values("after", "rate"))]
    shown = f"{statistics.median(ratios):.2f} ({min(ratios):.2f}–{max(ratios):.2f})"
    pair = lambda what, digits: f"{median('before', what):.{digits}f} → {median('after', what):.{digits}f}"
    print(f"{database:9} {connections:>5} {query:7} {pair('rate', 0):>17} {shown:>44} {pair('p50', 2):>15} {pair('p99', 2):>15}")
PY
