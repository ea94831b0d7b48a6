#!/usr/bin/env bash
# Requests one after the other and side by side: board page, one item with its comments, a create, and `{ __typename }`, at
# 1, 16, 64 and 256 connections; creates in 20 organizations at once; the time from start to ready on the filled database;
# and memory after it all. Prints a table in Markdown.
#
#   bench/requests.sh [DIR]       DIR: a folder to work in; a temporary one when left out
#
# Needs wrk and what bench/subject.sh needs. BIN: the binary; DATABASE=sqlite: the embedded database. ROUNDS (3), each of
# SECONDS_EACH (3): medians; QUERIES ("hello item board create"), CONNECTIONS_EACH ("1 16 64 256", of wrk), STARTS (10).
set -euo pipefail
cd "$(dirname "$0")/.."

dir=${1:-$(mktemp -d)}
mkdir -p "$dir"
bin=${BIN:-target/release/todo-platform}
queries=${QUERIES:-hello item board create}
connections=${CONNECTIONS_EACH:-1 16 64 256}
COST_PER_MINUTE=0 CONNECTIONS=${CONNECTIONS:-6} bench/subject.sh start "$dir" >"$dir.log" 2>&1 || { tail "$dir.log"; exit 1; }
trap 'bench/subject.sh stop "$dir"' EXIT
. "$dir/env"
export TOKEN

# Every organization's own create: its token, and its body.
python3 - "$dir" "$URL" "$PASSWORD" <<'PY'
import json, sys, urllib.request
folder, url, password = sys.argv[1:]

def ask(query, variables=None, token=None):
    headers = {"content-type": "application/json"} | ({"authorization": f"Bearer {token}"} if token else {})
    body = json.dumps({"query": query, "variables": variables or {}}).encode()
    return json.load(urllib.request.urlopen(urllib.request.Request(url + "/graphql", body, headers)))["data"]

body = json.load(open(folder + "/queries/create.json"))
with open(folder + "/organizations", "w") as lines:
    for number in range(1, 21):
        signed_in = ask("mutation($e: String!, $p: String!) { sessionCreate(input: {email: $e, password: $p}) { accessToken } }",
                        {"e": f"user1@load-{number}.example", "p": password})["sessionCreate"]
        if not signed_in["accessToken"]:
            break
        token = signed_in["accessToken"]
        found = ask("{ organization { teams(first: 1) { nodes { id } } tags(first: 2) { nodes { id } } } }", token=token)
        found = found["organization"]
        body["variables"]["i"] |= {"teamId": found["teams"]["nodes"][0]["id"],
                                   "tagIds": [tag["id"] for tag in found["tags"]["nodes"]]}
        lines.write(f"{token}\t{json.dumps(body)}\n")
PY

: >"$dir/rates"
load() { # what, connections, script
    local said threads=2
    [ "$2" -ge 2 ] || threads=1
    said=$(wrk -t "$threads" -c "$2" -d "${SECONDS_EACH:-3}s" --latency -s "$3" "$URL/graphql" | grep '^rate=')
    printf '%s %s %s\n' "$1" "$2" "$said" >>"$dir/rates"
}
for round in $(seq "${ROUNDS:-3}"); do
    for query in $queries; do
        for count in $connections; do BODY=$dir/queries/$query.json load "$query" "$count" bench/post.lua; done
    done
    for count in 16 64; do
        ORGANIZATIONS=$dir/organizations load creates-in-$(wc -l <"$dir/organizations")-organizations "$count" bench/organizations.lua
    done
    bench/subject.sh clean "$dir"
    printf 'round %s of %s\n' "$round" "${ROUNDS:-3}" >&2
done
memory=$(awk '/^Pss:/ { print int($2 / 1024) }' "/proc/$SERVER_PID/smaps_rollup")

# A second instance on the same database: from the start of the process until it answers that it is ready.
DATABASE_URL=$DATABASE_URL DATA_DIR=$dir/data SECRET_KEY=benchmark-secret-of-thirty-two-bytes-or-more \
    python3 - "$dir" "$bin" "${STARTS:-10}" "$memory" <<'PY'
import os, statistics, subprocess, sys, time, urllib.request
folder, binary, starts, memory = sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4]
environment = os.environ | {"PORT": "0", "LOG_LEVEL": "warn", "TODO_MODE": "production"}
took = []
for _ in range(starts):
    begun = time.monotonic()
    server = subprocess.Popen([binary, "serve"], env=environment, stdout=subprocess.PIPE, text=True)
    url = next(line for line in server.stdout if line.startswith("listening on ")).split()[-1]
    assert urllib.request.urlopen(url + "/health/ready").status == 200
    took.append((time.monotonic() - begun) * 1000)
    server.terminate()
    server.wait()
rows = {}
for line in open(folder + "/rates"):
    name, connections, *said = line.split()
    values = {key: float(value) for key, value in (pair.split("=") for pair in said)}
    assert not values["bad"], line
    rows.setdefault((name, connections), []).append(values)
print("| what | connections | a second, median (min–max) | p50, p99 ms |\n|---|---|---|---|")
for (name, connections), rounds in rows.items():
    rates = [values["rate"] for values in rounds]
    middle = {key: statistics.median(values[key] for values in rounds) for key in ("p50", "p99")}
    print(f"| {name} | {connections} | {statistics.median(rates):,.0f} ({min(rates):,.0f}–{max(rates):,.0f}) "
          f"| {middle['p50']:.1f}, {middle['p99']:.1f} |")
print(f"\nFrom start to ready: {statistics.median(took):.0f} ms ({min(took):.0f}–{max(took):.0f}). Memory (PSS): {memory} MB.")
PY
