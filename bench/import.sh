#!/usr/bin/env bash
# Imports a table of ROWS (100000) items over the API, and asks for a board page all the while: how long it takes, what the
# board takes meanwhile, and the server's memory before, at most and after.
#
#   bench/import.sh [DIR]       DIR: a folder to work in; a temporary one when left out
#
# Needs what bench/subject.sh needs. BIN: the binary; DATABASE=sqlite: the embedded database.
set -euo pipefail
cd "$(dirname "$0")/.."

dir=${1:-$(mktemp -d)}
export COST_PER_MINUTE=0 FILL=${FILL:-"--organizations 2 --items 10000 --items-each 1000 --comments 1"}
stop() { if [ -f "$dir/env" ]; then bench/subject.sh stop "$dir"; fi; }
trap stop EXIT
bench/subject.sh start "$dir" >"$dir.log" 2>&1 || { tail "$dir.log"; exit 1; }

ROWS=${ROWS:-100000} python3 - "$dir" <<'PY'
import http.client, json, os, statistics, sys, threading, time, urllib.parse
settings = dict(line.split("=", 1) for line in open(f"{sys.argv[1]}/env").read().splitlines())
host = settings["URL"].removeprefix("http://")
headers = {"content-type": "application/json", "authorization": f"Bearer {settings['TOKEN']}"}
def ask(query, variables, connection=None):
    connection = connection or http.client.HTTPConnection(host)
    connection.request("POST", "/graphql", json.dumps({"query": query, "variables": variables}), headers)
    answer = json.load(connection.getresponse())
    if "errors" in answer:
        sys.exit(json.dumps(answer["errors"]))
    return answer["data"]
def memory(name):
    status = open(f"/proc/{settings['SERVER_PID']}/status").read().splitlines()
    return int(next(line for line in status if line.startswith(name)).split()[1]) // 1024
rows = int(os.environ["ROWS"])
table = "id,title,description,tags\n" + "".join(f"{n},Imported item {n},{'x' * 60},imported\n" for n in range(rows))
board = ("{ items(first: 50) { nodes { id title status priority dueAt team { id name } assignees { id displayName } "
         "tags { id name color } comments { totalCount } } } }")
before, ended, times = memory("VmRSS"), threading.Event(), []
def look():
    connection = http.client.HTTPConnection(host)
    while not ended.is_set():
        begun = time.perf_counter()
        ask(board, {}, connection)
        times.append((time.perf_counter() - begun) * 1000)
        time.sleep(0.02)
create = ("mutation($input: ImportCreateInput!) { importCreate(input: $input) { import { id upload { url } } "
          "userErrors { code message } } }")
made = ask(create, {"input": {"fileName": "table.csv", "createTags": True}})["importCreate"]
if made["userErrors"]:
    sys.exit(json.dumps(made["userErrors"]))
id, path = made["import"]["id"], urllib.parse.urlsplit(made["import"]["upload"]["url"]).path
looking = threading.Thread(target=look)
looking.start()
begun = time.perf_counter()
connection = http.client.HTTPConnection(host)
connection.request("PUT", path, table.encode(), {"content-type": "application/octet-stream"})
sent = connection.getresponse()
if sent.status != 202:
    sys.exit(sent.read().decode())
arrived = time.perf_counter()
while True:
    found = ask("query($id: ID!) { node(id: $id) { ... on Import { status itemCount failure { code message } } } }", {"id": id})["node"]
    if found["status"] != "RUNNING":
        break
    time.sleep(0.2)
took = time.perf_counter() - arrived
ended.set()
looking.join()
p99 = sorted(times)[int(len(times) * 0.99)]
print(f"{found['status']}: {found['itemCount']} items of {len(table) / 1e6:.1f} MB; sent in {arrived - begun:.2f} s, "
      f"done {took:.1f} s later ({found['itemCount'] / took:.0f} items/s)")
print(f"board meanwhile: p50 {statistics.median(times):.1f} ms, p99 {p99:.1f} ms of {len(times)}")
print(f"memory (RSS): {before} MB before, {memory('VmHWM')} MB at most, {memory('VmRSS')} MB after")
PY
