#!/usr/bin/env bash
# What reading and validating a document costs: `{ __typename }`, one item with its comments and the board page, each sent
# as the same text again and again (remembered), and as another text each time (new: a comment in it counts on).
#
#   bench/documents.sh [DIR]     DIR: a folder to work in, a temporary one when left out
#
# One connection, so that the difference of two medians is the cost. BIN (the release build), DATABASE (sqlite), ROUNDS (5),
# SECONDS_EACH (3); needs wrk and what bench/subject.sh needs.
set -euo pipefail
cd "$(dirname "$0")/.."

dir=${1:-$(mktemp -d)}
mkdir -p "$dir"
export FILL=${FILL:---organizations 2 --items 10000 --items-each 100} DATABASE=${DATABASE:-sqlite}

cat >"$dir/post.lua" <<'LUA'
local body = io.open(os.getenv("BODY")):read("*a")
local before, after = body:match('^(.-"query"%s*:%s*")(.*)$')
local headers = { ["content-type"] = "application/json", authorization = "Bearer " .. os.getenv("TOKEN") }
local is_new, count = os.getenv("DOCUMENT") == "new", os.time() * 1000000
request = function()
    count = count + 1
    local text = is_new and before .. "# " .. count .. "\\n" .. after or body
    return wrk.format("POST", nil, headers, text)
end
done = function(summary, latency)
    local errors = summary.errors
    io.write(string.format("p50=%.1f p99=%.1f bad=%d\n", latency:percentile(50), latency:percentile(99),
        errors.connect + errors.read + errors.write + errors.status + errors.timeout))
end
LUA

bench/subject.sh start "$dir/subject" >&2
trap 'bench/subject.sh stop "$dir/subject" >&2' EXIT
# shellcheck disable=SC1091
. "$dir/subject/env"
export TOKEN DOCUMENT BODY
for query in hello item board; do
    BODY=$dir/subject/queries/$query.json
    for round in $(seq 0 "${ROUNDS:-5}"); do
        for DOCUMENT in remembered new; do
            seconds=${SECONDS_EACH:-3}
            [ "$round" != 0 ] || seconds=1
            found=$(wrk -t1 -c1 -d"${seconds}s" -s "$dir/post.lua" "$URL/graphql" | grep '^p50=')
            [ "$round" = 0 ] || echo "$query $DOCUMENT $found"
        done
    done
done | tee "$dir/rounds" >&2

python3 - "$dir/rounds" <<'PY'
import statistics, sys
found = {}
for line in open(sys.argv[1]):
    query, document, *figures = line.split()
    figures = dict(figure.split("=") for figure in figures)
    if figures["bad"] != "0":
        sys.exit(f"failed requests: {line}")
    found.setdefault(query, {}).setdefault(document, []).append(float(figures["p50"]))
print(f"{'document':10} {'remembered, µs':>15} {'new, µs':>10} {'cost, µs':>10}")
for query, sides in found.items():
    known, new = (statistics.median(sides[side]) for side in ("remembered", "new"))
    print(f"{query:10} {known:15.0f} {new:10.0f} {new - known:10.0f}")
PY
