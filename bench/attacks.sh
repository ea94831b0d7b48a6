#!/usr/bin/env bash
# All attacks at once against a release server, while another organization reads its board page: the server's memory at
# most, and the page's p99 alone and under attack.
#
#   bench/attacks.sh [DIR]      DIR: a folder to work in; a temporary one when left out
#
# Starts the server by bench/subject.sh (which says what that needs), once on each of DATABASES ("sqlite postgres"), and
# the clients by node (bench/attacks.mjs, which says what is done). SECONDS_EACH (30), READERS (3), ONLY (names of
# attacks). CONTROL=1: another server with a database of its own is attacked instead, on the same processors. Callers have the points of the plan ENTERPRISE, as by default. Ends with 1 when a server is over 512 MiB, the
# page's p99 is over three times its own, or the server is gone.
set -euo pipefail
cd "$(dirname "$0")/.."

dir=${1:-$(mktemp -d)}
mkdir -p "$dir"
ulimit -n "$(ulimit -Hn)"
export FILL=${FILL:---organizations 2 --items 10000 --items-each 20000}
export COST_PER_MINUTE=${COST_PER_MINUTE:-1000000}

for database in ${DATABASES:-sqlite postgres}; do
    DATABASE=$database bench/subject.sh start "$dir/$database" >&2
    if [ -n "${CONTROL:-}" ]; then
        DATABASE=$database bench/subject.sh start "$dir/$database-attacked" >&2
        # shellcheck disable=SC1090,SC1091
        ATTACKED=$(. "$dir/$database-attacked/env" && echo "$URL")
        export ATTACKED
    fi
    # shellcheck disable=SC1090,SC1091
    (
        . "$dir/$database/env"
        node bench/attacks.mjs "$URL" "$SERVER_PID" "$dir/$database/queries/board.json"
    ) >"$dir/$database.json" || true
    bench/subject.sh stop "$dir/$database" >&2
    if [ -n "${CONTROL:-}" ]; then bench/subject.sh stop "$dir/$database-attacked" >&2; fi
done

python3 - "$dir" ${DATABASES:-sqlite postgres} <<'PY'
import json, sys
folder, databases = sys.argv[1], sys.argv[2:]
bad = False
print(f"{'database':10} {'MiB (PSS) alone':>15} {'under attack':>13} {'RSS peak':>9} {'pages/s':>15} {'p50 ms':>15} {'p99 ms':>17} {'ratio':>6}  failed pages")
for name in databases:
    try:
        found = json.load(open(f"{folder}/{name}.json"))
    except ValueError:
        print(f"{name:10} failed; {folder}/{name}/server.log")
        bad = True
        continue
    a, b = found["alone"], found["under"]
    ratio = b["p99"] / a["p99"]
    pair = lambda what: f"{a[what]} → {b[what]}"
    failures = ", ".join(f"{count} {code}" for code, count in b["failures"].items()) or "none"
    print(f"{name:10} {found['pssAlone']:15} {found['pssUnder']:13} {found['rssPeak']:9} {pair('perSecond'):>15} {pair('p50'):>15} {pair('p99'):>17} {ratio:6.1f}  {failures}")
    print("           " + ("alive afterwards" if found["alive"] else "GONE"))
    for attack in found["attacks"]:
        answered = found["answered"].get(attack, {})
        print(f"  {attack:18} " + ", ".join(f"{count} {what}" for what, count in sorted(answered.items(), key=lambda pair: -pair[1])))
    bad |= not found["alive"] or ratio > 3 or found["pssUnder"] > 512
sys.exit(bad)
PY
