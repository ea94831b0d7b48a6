#!/usr/bin/env bash
# Whether what is asked gets slower as there is more: the same requests of a server with SMALL items in its organization
# (10000), of one with LARGE (1000000), and of one with ORGANIZATIONS of 1,000 items each (1000), in turn, on one
# connection each. Prints p50 of each, and the ratios to the small one.
#
#   bench/growth.sh [DIR]       DIR: a folder to work in; a temporary one when left out
#
# Needs what bench/subject.sh needs, and some GB. BIN: the binary; DATABASE=sqlite: the embedded database; ROUNDS (40).
set -euo pipefail
cd "$(dirname "$0")/.."

dir=${1:-$(mktemp -d)}
export COST_PER_MINUTE=0
sizes="small large many"
start() { # name, what is filled
    FILL=$2 bench/subject.sh start "$dir/$1" >"$dir/$1.log" 2>&1 || { tail "$dir/$1.log"; exit 1; }
    echo "$1 is filled: $2" >&2
}
mkdir -p "$dir"
stop() { for size in $sizes; do if [ -f "$dir/$size/env" ]; then bench/subject.sh stop "$dir/$size"; fi; done; }
trap stop EXIT
start small "--organizations 2 --items ${SMALL:-10000} --items-each 1000 --comments 1"
start large "--organizations 2 --items ${LARGE:-1000000} --items-each 1000 --comments 1"
start many "--organizations ${ORGANIZATIONS:-1000} --items ${SMALL:-10000} --items-each 1000 --comments 1"

ROUNDS=${ROUNDS:-40} python3 - "$dir" $sizes <<'PY'
import collections, http.client, json, os, statistics, sys, time
folder, *sizes = sys.argv[1:]
class Server:
    def __init__(self, name):
        lines = open(f"{folder}/{name}/env").read().splitlines()
        settings = dict(line.split("=", 1) for line in lines)
        self.connection = http.client.HTTPConnection(settings["URL"].removeprefix("http://"))
        self.headers = {"content-type": "application/json", "authorization": f"Bearer {settings['TOKEN']}"}
        found = self.ask("{ items(first: 1) { nodes { id title } } viewer { user { id } } "
                         "organization { teams(first: 1) { nodes { id } } tags(first: 2) { nodes { id } } } }", {})
        self.item = found["items"]["nodes"][0]
        self.team = found["organization"]["teams"]["nodes"][0]["id"]
        self.tags = [tag["id"] for tag in found["organization"]["tags"]["nodes"]]
        people = self.ask("{ items(first: 20, filter: { assignees: { isEmpty: false } }) { nodes { assignees { id } } } }", {})["items"]["nodes"]
        self.person = next(person["id"] for item in people for person in item["assignees"])
    def ask(self, query, variables):
        self.connection.request("POST", "/graphql", json.dumps({"query": query, "variables": variables}), self.headers)
        answer = json.load(self.connection.getresponse())
        if "errors" in answer:
            sys.exit(json.dumps(answer["errors"]))
        return answer["data"]
fields = ("{ nodes { id title status priority dueAt team { id name } assignees { id displayName } tags { id name color } "
          "comments { totalCount } } pageInfo { hasNextPage endCursor } }")
search = "query($q: String!) { search(query: $q, first: 20) { score snippet node { id } } }"
def filtered(server, rows):
    query = (f"query($p: ID!, $t: ID!) {{ items(first: {rows}, filter: {{ status: {{ in: [TODO, IN_PROGRESS] }}, assignees: {{ some: "
             f"{{ id: {{ eq: $p }} }} }}, tags: {{ some: {{ id: {{ eq: $t }} }} }} }}) {fields} }}")
    return query, {"p": server.person, "t": server.tags[0]}
requests = {
    "board": lambda s: (f"{{ items(first: 50) {fields} }}", {}),
    "filtered, same rows": lambda s: filtered(s, rows),
    "filtered, a page": lambda s: filtered(s, 50),
    "by due date": lambda s: (f"{{ items(first: 50, orderBy: [{{ field: DUE_AT }}]) {fields} }}", {}),
    "manual order": lambda s: (f"{{ items(first: 50, orderBy: [{{ field: RANK }}]) {fields} }}", {}),
    "item": lambda s: ("query($id: ID!) { item(id: $id) { id title description status comments(first: 20) { nodes { id body "
                       "author { id displayName } } } } }", {"id": s.item["id"]}),
    "search, frequent": lambda s: (search, {"q": "release"}),
    "search, two words": lambda s: (search, {"q": "login page"}),
    "search, rarer": lambda s: (search, {"q": "german"}),
    "search, nothing": lambda s: (search, {"q": "nothingofthat"}),
    "create": lambda s: ("mutation($i: ItemCreateInput!) { itemCreate(input: $i) { item { id } userErrors { code } } }",
                         {"i": {"title": "bench item", "teamId": s.team, "tagIds": s.tags}}),
}
servers = {size: Server(size) for size in sizes}
# A small organization has few items of one person with one tag: of a large one so many are asked for, and a page as well.
rows = min(len(server.ask(*filtered(server, 50))["items"]["nodes"]) for server in servers.values())
times = collections.defaultdict(list)
for _ in range(int(os.environ["ROUNDS"])):
    for name, request in requests.items():
        for size, server in servers.items():
            query, variables = request(server)
            begun = time.perf_counter()
            server.ask(query, variables)
            times[name, size].append((time.perf_counter() - begun) * 1000)
for name in requests:
    p50 = {size: statistics.median(times[name, size]) for size in sizes}
    ratios = "  ".join(f"{size} {p50[size]:6.1f} ms ({p50[size] / p50[sizes[0]]:.2f})" for size in sizes)
    print(f"{name:20} {ratios}")
PY
