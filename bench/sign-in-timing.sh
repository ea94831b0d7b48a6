#!/usr/bin/env bash
# Does the time of a failed sign-in tell whether the account exists? Starts a server of its own with the throttle off and
# signs in with a wrong password, to a known and to an unknown account in turn, TRIES times each. Prints both medians and
# by how much they differ; ends with status 1 above LIMIT percent.
#
#   bench/sign-in-timing.sh
#
# Needs python3. BIN is the binary (a release build unless said), TRIES 200, LIMIT 5. DATABASE_URL names the database; an
# SQLite file of its own unless said.
set -euo pipefail
cd "$(dirname "$0")/.."

bin=${BIN:-target/release/todo-platform}
dir=$(mktemp -d)
server_pid=
cleanup() {
    if [ -n "$server_pid" ]; then kill "$server_pid" 2>/dev/null || true; wait "$server_pid" 2>/dev/null || true; fi
    rm -rf "$dir"
}
trap cleanup EXIT

export DATA_DIR=$dir TODO_MODE=embedded SECRET_KEY=benchmark-secret-of-thirty-two-bytes-or-more LOG_LEVEL=warn
export TODO_AUTH_SIGN_INS_PER_ADDRESS=0 TODO_AUTH_REGISTRATIONS_PER_ADDRESS=0 HOST=127.0.0.1 PORT=0
"$bin" serve >"$dir/server.out" 2>"$dir/server.log" &
server_pid=$!
until grep -qs '^listening on' "$dir/server.out"; do
    kill -0 "$server_pid" || { cat "$dir/server.log" >&2; exit 1; }
    sleep 0.05
done
url=$(sed -n 's/^listening on //p' "$dir/server.out")

TRIES=${TRIES:-200} LIMIT=${LIMIT:-5} python3 - "$url" <<'PYTHON'
import http.client, json, os, statistics, sys, time, urllib.parse, uuid

place = urllib.parse.urlparse(sys.argv[1])
tries, limit = int(os.environ["TRIES"]), float(os.environ["LIMIT"])
# One connection, kept: its making would be noise.
connection = http.client.HTTPConnection(place.hostname, place.port)


def ask(query, variables):
    body = json.dumps({"query": query, "variables": variables})
    begin = time.perf_counter()
    connection.request("POST", "/graphql", body, {"content-type": "application/json"})
    answer = json.loads(connection.getresponse().read())
    taken = time.perf_counter() - begin
    (payload,) = answer["data"].values()
    return taken, [error["code"] for error in payload["userErrors"]]


name = "timing" + uuid.uuid4().hex[:12]
known = name + "@example.com"
register = """mutation($email: String!, $username: String!) {
  userRegister(input: {email: $email, username: $username, password: "the right password"}) { userErrors { code } } }"""
_, errors = ask(register, {"email": known, "username": name})
assert errors == [], errors

sign_in = """mutation($email: String!) {
  sessionCreate(input: {email: $email, password: "a wrong password!!"}) { userErrors { code } } }"""
times = {"known": [], "unknown": []}
for number in range(-10, tries):
    # Which comes first alternates, so that what the server does after an answer falls on both alike.
    order = ["known", "unknown"] if number % 2 else ["unknown", "known"]
    for kind in order:
        # As long as the known one, and never the same.
        email = known if kind == "known" else "nobody" + uuid.uuid4().hex[:12] + "@example.com"
        taken, errors = ask(sign_in, {"email": email})
        assert errors == ["BAD_CREDENTIALS"], errors
        if number >= 0:  # the first ten warm up
            times[kind].append(taken * 1000)
medians = {kind: statistics.median(taken) for kind, taken in times.items()}
difference = (medians["known"] - medians["unknown"]) / medians["unknown"] * 100
for kind, median in medians.items():
    print(f"{kind:8} {median:8.3f} ms, the median of {tries}")
print(f"difference {difference:+.2f} % (at most {limit:g} %)")
sys.exit(abs(difference) > limit)
PYTHON
