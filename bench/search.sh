#!/usr/bin/env bash
# How long a search takes among 100,000 items of one organization, beside another one: p50 and p95 of each kind of
# query, one after the other on one connection.
#
#   bench/search.sh [DIR]       DIR: a folder to work in; a temporary one when left out
#
# Needs what bench/subject.sh needs. BIN: the binary; DATABASE=sqlite: the embedded database; ROUNDS (40); ITEMS (100000), and
# ITEMS_EACH (as many) of the other organization.
set -euo pipefail
cd "$(dirname "$0")/.."

dir=${1:-$(mktemp -d)}
items=${ITEMS:-100000}
FILL="--organizations 2 --items $items --items-each ${ITEMS_EACH:-$items} --comments 1" bench/subject.sh start "$dir" >"$dir.log" 2>&1 \
    || { tail "$dir.log"; exit 1; }
trap 'bench/subject.sh stop "$dir"' EXIT
. "$dir/env"

ROUNDS=${ROUNDS:-40} python3 - "$URL" "$TOKEN" <<'PY'
import collections, http.client, json, os, re, statistics, sys, time
url, token = sys.argv[1:]
connection = http.client.HTTPConnection(url.removeprefix("http://"))
def ask(query, variables):
    body = json.dumps({"query": query, "variables": variables})
    connection.request("POST", "/graphql", body, {"content-type": "application/json", "authorization": f"Bearer {token}"})
    answer = json.load(connection.getresponse())
    if "errors" in answer:
        sys.exit(json.dumps(answer["errors"]))
    return answer["data"]
search = "query($q: String!, $t: [SearchType!]) { search(query: $q, types: $t, first: 20) { score snippet node { id } } }"
items = "query($q: String!) { items(first: 20, filter: { text: $q }) { nodes { id } } }"
page = ask("{ items(first: 100) { nodes { identifier title description } } }", {})["items"]["nodes"]
words = collections.Counter(
    word for item in page for word in set(re.findall("[a-z]{4,}", f"{item['title']} {item['description']}".lower())))
common, _ = words.most_common(1)[0]
second = words.most_common(2)[1][0]
rare = min((word for word in words if len(word) > 6), key=words.get)
queries = {
    "a frequent word": (search, {"q": f'"{common}"'}), "its beginning, 2 letters": (search, {"q": common[:2]}),
    "4 letters": (search, {"q": common[:4]}), "two frequent words": (search, {"q": f"{common} {second}"}),
    "a rare word": (search, {"q": f'"{rare}"'}), "its beginning, 6 letters": (search, {"q": rare[:6]}),
    "an identifier": (search, {"q": page[0]["identifier"]}), "comments": (search, {"q": common, "t": ["COMMENT"]}),
    "16 words": (search, {"q": " ".join(word for word, _ in words.most_common(16))}),
    "a list's filter, frequent": (items, {"q": f'"{common}"'}), "a list's filter, rare": (items, {"q": f'"{rare}"'}),
}
times = collections.defaultdict(list)
for _ in range(int(os.environ["ROUNDS"])):
    for name, query in queries.items():
        begun = time.perf_counter()
        found = ask(*query)
        times[name].append((time.perf_counter() - begun) * 1000)
for name, taken in times.items():
    taken.sort()
    print(f"{name:26} {queries[name][1]['q'][:30]!r:34} p50 {statistics.median(taken):7.1f} ms  "
          f"p95 {taken[int(len(taken) * 0.95)]:7.1f} ms")
PY
