#!/usr/bin/env bash
# What identity, role, plan and limit check cost together: the rate of `{ __typename }` without any of them, beside the
# rate with an access token and with an API key. One binary, two servers on one embedded database, so that "without"
# differs by nothing but the settings.
#
#   bench/limits.sh [DIR]       DIR: a folder to work in; a temporary one when left out
#
# Needs wrk, curl, python3 and a release build. BIN: the binary. ROUNDS (5), SECONDS_EACH (4), CONNECTIONS (16).
set -euo pipefail
cd "$(dirname "$0")/.."

bin=${BIN:-target/release/todo-platform}
rounds=${ROUNDS:-5}
each=${SECONDS_EACH:-4}
connections=${CONNECTIONS:-16}
dir=${1:-$(mktemp -d)}
mkdir -p "$dir"
unset "${!TODO_@}" HOST DATABASE_URL REDIS_URL
export DATA_DIR=$dir/data SECRET_KEY=benchmark-secret-of-thirty-two-bytes-or-more LOG_LEVEL=warn PORT=0
export TODO_AUTH_SIGN_INS_PER_ADDRESS=0 TODO_AUTH_REGISTRATIONS_PER_ADDRESS=0

servers=()
stop() { for server in "${servers[@]}"; do kill "$server" 2>/dev/null || true; done; }
trap stop EXIT

# serve NAME SETTING…: starts a server; its URL goes to `url`.
serve() {
    local name=$1
    shift
    : >"$dir/$name.out"
    env "$@" "$bin" serve >"$dir/$name.out" 2>"$dir/$name.log" &
    servers+=($!)
    until grep -q '^listening on' "$dir/$name.out"; do
        kill -0 $! || { cat "$dir/$name.log"; exit 1; }
        sleep 0.05
    done
    url=$(sed -n 's/^listening on //p' "$dir/$name.out")
}
# ask QUERY [curl option…]
ask() {
    local query=$1
    shift
    curl -s "$@" "$off/graphql" -H 'content-type: application/json' \
        -d "$(python3 -c 'import json, sys; print(json.dumps({"query": sys.argv[1]}))' "$query")"
}
text() { python3 -c 'import json, sys
value = json.load(sys.stdin)
for name in sys.argv[1].split("."): value = (value or {}).get(name)
print(value or "")' "$1"; }

serve off TODO_LIMITS_COST_PER_MINUTE=0
off=$url
serve on TODO_LIMITS_COST_PER_MINUTE=2000000000 TODO_LIMITS_ANONYMOUS_COST_PER_MINUTE=2000000000
on=$url

name=bench$RANDOM$RANDOM
token=$(ask "mutation { userRegister(input: {email: \"$name@example.com\", username: \"$name\", password: \"correct horse battery\"}) { accessToken } }" | text data.userRegister.accessToken)
ask "mutation { organizationCreate(input: {name: \"$name\", slug: \"$name\"}) { organization { id } } }" -H "authorization: Bearer $token" >/dev/null
key=$(ask 'mutation { apiKeyCreate(input: {name: "bench", scopes: [ITEM_READ]}) { secret } }' -H "authorization: Bearer $token" | text data.apiKeyCreate.secret)
[ -n "$token" ] || { echo "signing up failed" >&2; exit 1; }

cat >"$dir/hello.lua" <<'LUA'
wrk.method = "POST"
wrk.headers["content-type"] = "application/json"
wrk.body = '{"query": "{ __typename }"}'
local name, value = os.getenv("HEADER_NAME"), os.getenv("HEADER_VALUE")
if name then wrk.headers[name] = value end
done = function(summary)
    local errors = summary.errors
    io.write(string.format("rate=%.1f bad=%d\n", summary.requests / summary.duration * 1e6,
        errors.connect + errors.read + errors.write + errors.status + errors.timeout))
end
LUA
# rate URL [header value]
rate() {
    local out
    out=$(env ${2:+HEADER_NAME="$2" HEADER_VALUE="$3"} wrk -t2 -c"$connections" -d"${each}s" -s "$dir/hello.lua" "$1/graphql" | grep '^rate=')
    [[ $out == *bad=0 ]] || { echo "failed requests: $out" >&2; exit 1; }
    out=${out#rate=}
    echo "${out%% *}"
}
measure() { # name
    case $1 in
    anonymous-off) rate "$off" ;;
    anonymous-on) rate "$on" ;;
    token-on) rate "$on" authorization "Bearer $token" ;;
    key-on) rate "$on" x-api-key "$key" ;;
    esac
}
cases=(anonymous-off anonymous-on token-on)
if [ -n "$key" ]; then cases+=(key-on); else echo "no API key could be made: left out" >&2; fi

for case in "${cases[@]}"; do measure "$case" >/dev/null; done # warm
for round in $(seq "$rounds"); do
    for case in "${cases[@]}"; do echo "$round $case $(measure "$case")"; done
done | tee "$dir/rounds"
python3 - "$dir/rounds" <<'PY'
import statistics, sys
rates = {}
for line in open(sys.argv[1]):
    _, case, rate = line.split()
    rates.setdefault(case, []).append(float(rate))
base = rates["anonymous-off"]
print(f"\n{'case':15} {'median/s':>10} {'of anonymous-off, by round (median, min–max)':>46}")
for case, found in rates.items():
    ratios = [a / b for a, b in zip(found, base)]
    shown = f"{statistics.median(ratios):.3f} ({min(ratios):.3f}–{max(ratios):.3f})"
    print(f"{case:15} {statistics.median(found):10.0f} {shown:>46}")
PY
