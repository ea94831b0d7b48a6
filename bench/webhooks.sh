#!/usr/bin/env bash
# Deliveries to webhooks: how many a second one instance sends while a backlog drains, to 1 and to 10 webhooks; what the
# board page's p99 becomes beside them; how long a delivery takes beside 20 bad receivers.
#
#   bench/webhooks.sh [DIR]     DIR: a folder to work in; a temporary one when left out
#
# Starts the server by bench/subject.sh (which says what that needs), once on each of DATABASES ("sqlite postgres"), and
# the receiver by node, which answers 204; needs wrk. ONLY ("drain page bad": what is measured), ROUNDS (5), SECONDS_EACH
# (4), CONNECTIONS_EACH ("16 2", of wrk), RATE (550: deliveries a second beside the page, held there by a receiver that
# takes its time), BESIDE_BAD (1000 items). BEFORE: a command that is run before each measurement, such as one that waits
# until the machine is quiet.
set -euo pipefail
cd "$(dirname "$0")/.."

dir=${1:-$(mktemp -d)}
mkdir -p "$dir"
ulimit -n "$(ulimit -Hn)"
export FILL=${FILL:---organizations 2 --items 10000 --items-each 100}
# The receiver is on loopback.
export TODO_WEBHOOKS_ALLOWED_CIDRS=127.0.0.0/8 TODO_WEBHOOKS_ALLOW_HTTP=on

for database in ${DATABASES:-sqlite postgres}; do
    DATABASE=$database bench/subject.sh start "$dir/$database" >&2
    # shellcheck disable=SC1090,SC1091
    (
        . "$dir/$database/env"
        node bench/webhooks.mjs "$URL" "$TOKEN" "$SERVER_PID" "$POSTGRES_PID" "$dir/$database/queries/board.json" bench/post.lua
    ) >"$dir/$database.json" || true
    bench/subject.sh stop "$dir/$database" >&2
done

python3 - "$dir" ${DATABASES:-sqlite postgres} <<'PY'
import json, sys
folder, databases = sys.argv[1], sys.argv[2:]
found = {}
for name in databases:
    try:
        found[name] = json.load(open(f"{folder}/{name}.json"))
    except ValueError:
        print(f"{name}: failed")
print(f"{'backlog':22} {'deliveries/s':>12} {'server CPU ms each':>19} {'PostgreSQL CPU ms each':>23}")
for name, result in found.items():
    for one in result["drains"]:
        print(f"{name + ', ' + str(one['webhooks']) + ' webhooks':22} {one['perSecond']:12} {one['serverMs']:19} {one['postgresMs']:23}")
print(f"\n{'board page':24} {'deliveries/s':>12} {'pages/s':>15} {'p50 ms':>13} {'p99 ms':>13} {'p99, by round: median (min–max)':>32}")
for name, result in found.items():
    for one in result["pages"]:
        a, b, ratios = one["without"], one["with"], one["ratios"]
        label = f"{name}, {one['connections']} conn."
        pair = lambda what: f"{a[what]} → {b[what]}"
        print(f"{label:24} {one['deliveriesPerSecond']:12} {pair('rate'):>15} {pair('p50'):>13} {pair('p99'):>13} {one['ratio']:>14} ({min(ratios)}–{max(ratios)})")
print(f"\n{'a delivery':10} {'arrived':>20} {'p50 ms':>18} {'p99 ms':>18}   (without → beside 20 bad receivers)")
for name, result in found.items():
    if not result["bad"]:
        continue
    a, b = result["bad"]["without"], result["bad"]["with"]
    pair = lambda what: f"{a[what]} → {b[what]}"
    print(f"{name:10} {pair('arrived'):>20} {pair('p50'):>18} {pair('p99'):>18}")
PY
