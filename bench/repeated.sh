#!/usr/bin/env bash
# What an answer given again saves: the board of one server made anew, given again by POST and by GET, and answered by
# 304 to a client that has it; in turns, on an organization that does not change.
#
#   bench/repeated.sh [DIR]       DIR: a folder to work in; a temporary one when left out
#
# Needs wrk, PostgreSQL's binaries, curl, python3 and a release build. BIN: the binary; DATABASE=sqlite: the embedded
# database. ROUNDS (3), SECONDS_EACH (4), CONNECTIONS (16).
set -euo pipefail
cd "$(dirname "$0")/.."

rounds=${ROUNDS:-3}
each=${SECONDS_EACH:-4}
connections=${CONNECTIONS:-16}
dir=${1:-$(mktemp -d)}
ANSWER_CACHE_BYTES=16777216 CONNECTIONS=6 bench/subject.sh start "$dir" >"$dir.log" 2>&1 || { tail "$dir.log"; exit 1; }
trap 'bench/subject.sh stop "$dir"' EXIT
. "$dir/env"
export TOKEN BODY=$dir/queries/board.json

path=/graphql?$(python3 -c 'import json, sys, urllib.parse
print(urllib.parse.urlencode({"query": json.load(open(sys.argv[1]))["query"]}))' "$BODY")
get=(-H "authorization: Bearer $TOKEN")
# Kept from the second asking; made anew its cursors, and so its tag, would be others.
for _ in 1 2; do curl -sf -o /dev/null "${get[@]}" "$URL$path"; done
etag=$(curl -sf -o /dev/null -D - "${get[@]}" "$URL$path" | tr -d '\r' | sed -n 's/^etag: //Ip')
[ -n "$etag" ] || { echo "the answer has no entity tag" >&2; exit 1; }
status=$(curl -s -o /dev/null -w '%{http_code}' "${get[@]}" -H "if-none-match: $etag" "$URL$path")
[ "$status" = 304 ] || { echo "HTTP $status instead of 304" >&2; exit 1; }

load=(wrk -t 2 -c "$connections" -d "${each}s" --latency)
rate() { "$@" | awk '/^rate=/ { split($1, rate, "="); print rate[2] } /^Requests\/sec:/ { print $2 }' | head -n 1; }
: >"$dir/rates"
for round in $(seq "$rounds"); do
    printf 'anew %s\n' "$(rate "${load[@]}" -s bench/post.lua -H 'x-include-cost: true' "$URL/graphql")" >>"$dir/rates"
    printf 'again-post %s\n' "$(rate "${load[@]}" -s bench/post.lua "$URL/graphql")" >>"$dir/rates"
    printf 'again-get %s\n' "$(rate "${load[@]}" "${get[@]}" "$URL$path")" >>"$dir/rates"
    printf 'unchanged %s\n' "$(rate "${load[@]}" "${get[@]}" -H "if-none-match: $etag" "$URL$path")" >>"$dir/rates"
    printf 'round %s of %s\n' "$round" "$rounds" >&2
done
python3 - "$dir/rates" <<'PY'
import statistics, sys
rates = {}
for line in open(sys.argv[1]):
    name, rate = line.split()
    rates.setdefault(name, []).append(float(rate))
for name, found in rates.items():
    ratios = [rate / anew for rate, anew in zip(found, rates["anew"])]
    print(f"{name:11} {statistics.median(found):9.0f}/s  {statistics.median(ratios):5.2f} of anew "
          f"({min(ratios):.2f}-{max(ratios):.2f})")
PY
