#!/usr/bin/env bash
# How long a bulk mutation of 500 items takes, beside single ones: p50 and p95, one after the other on one connection.
#
#   bench/bulk.sh [DIR]         DIR: a folder to work in; a temporary one when left out
#
# Needs what bench/subject.sh needs. BIN: the binary; DATABASE=sqlite: the embedded database; ROUNDS (20); ITEMS (10000).
set -euo pipefail
cd "$(dirname "$0")/.."

dir=${1:-$(mktemp -d)}
items=${ITEMS:-10000}
COST_PER_MINUTE=0 FILL="--organizations 1 --items $items --items-each $items" bench/subject.sh start "$dir" >"$dir.log" 2>&1 \
    || { tail "$dir.log"; exit 1; }
trap 'bench/subject.sh stop "$dir"' EXIT
. "$dir/env"

ROUNDS=${ROUNDS:-20} python3 - "$URL" "$TOKEN" <<'PY'
import collections, http.client, json, os, statistics, sys, time
url, token = sys.argv[1:]
connection = http.client.HTTPConnection(url.removeprefix("http://"))
def ask(query, variables):
    body = json.dumps({"query": query, "variables": variables})
    connection.request("POST", "/graphql", body, {"content-type": "application/json", "authorization": f"Bearer {token}"})
    answer = json.load(connection.getresponse())
    if "errors" in answer:
        sys.exit(json.dumps(answer["errors"]))
    return answer["data"]
def bulk(what):
    return (f"mutation($input: ItemBulk{what}Input!) {{ done: itemBulk{what}(input: $input) {{ succeeded "
            "results { id userErrors { code } } userErrors { code message } } }")
ids, after = [], None
while len(ids) < 500:
    page = ask("query($a: Cursor) { items(first: 100, after: $a) { nodes { id } pageInfo { endCursor } } }", {"a": after})["items"]
    ids += [node["id"] for node in page["nodes"]]
    after = page["pageInfo"]["endCursor"]
times = collections.defaultdict(list)
def timed(name, query, variables):
    begun = time.perf_counter()
    done = ask(query, variables)["done"]
    times[name].append((time.perf_counter() - begun) * 1000)
    if done["userErrors"] or done.get("succeeded", 1) not in (1, 500):
        sys.exit(f"{name}: {done['userErrors']}")
    return done
one = "mutation($input: ItemUpdateInput!) { done: itemUpdate(input: $input) { userErrors { code } } }"
for round in range(int(os.environ["ROUNDS"])):
    status = ["IN_PROGRESS", "IN_REVIEW"][round % 2]
    patch = {"status": status, "priority": ["LOW", "HIGH"][round % 2]}
    for item in ids[:20]:
        timed("one update", one, {"input": {"id": item, "patch": {"estimatedHours": round + 1}}})
    timed("500 updates", bulk("Update"), {"input": {"select": {"ids": ids}, "patch": patch}})
    made = [{"title": f"Made by a benchmark {n}"} for n in range(500)]
    made = timed("500 creates", bulk("Create"), {"input": {"items": made}})["results"]
    made = [result["id"] for result in made]
    timed("500 to the trash", bulk("Delete"), {"input": {"select": {"ids": made}}})
    timed("500 restored", bulk("Restore"), {"input": {"select": {"ids": made}}})
for name, taken in times.items():
    taken.sort()
    print(f"{name:18} p50 {statistics.median(taken):7.1f} ms  p95 {taken[int(len(taken) * 0.95)]:7.1f} ms")
PY
