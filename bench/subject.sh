#!/usr/bin/env bash
# Starts a release build of the server on a PostgreSQL of its own, filled to the benchmark's volumes, for a load
# generator to be pointed at.
#
#   bench/subject.sh start DIR     makes DIR: cluster, data, queries/*.json, env (URL, TOKEN, SERVER_PID, POSTGRES_PID)
#   bench/subject.sh clean DIR     removes what the `create` query made
#   bench/subject.sh stop DIR      stops both; DIR stays for reading
#
# Needs PostgreSQL's binaries, curl, python3. FILL overrides what is filled (arguments of `todo-platform fill`), BIN the
# binary; DATABASE=sqlite measures the embedded database instead; COST_PER_MINUTE=0 turns the limits by the minute off;
# ANSWER_CACHE_BYTES=16777216 gives answers again, which are otherwise all made anew.
set -euo pipefail
cd "$(dirname "$0")/.."

command=${1:?start, clean or stop}
dir=$(mkdir -p "${2:?a folder}" && cd "$2" && pwd)
bin=${BIN:-target/release/todo-platform}

postgres_bin() {
    for folder in $(ls -d /usr/lib/postgresql/*/bin 2>/dev/null | sort -Vr) $(dirname "$(command -v pg_ctl || echo .)"); do
        if [ -x "$folder/pg_isready" ]; then echo "$folder"; return; fi
    done
    echo "no PostgreSQL binaries found" >&2
    return 1
}
# PostgreSQL refuses to run as root.
as_postgres() {
    if [ "$(id -u)" = 0 ]; then setpriv --reuid=postgres --regid=postgres --clear-groups -- "$@"; else "$@"; fi
}
free_port() { python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'; }
ask() { # token, query, variables
    curl -sf "$URL/graphql" -H 'content-type: application/json' ${1:+-H "authorization: Bearer $1"} \
        -d "$(python3 -c 'import json, sys; print(json.dumps({"query": sys.argv[1], "variables": json.loads(sys.argv[2])}))' "$2" "${3:-"{}"}")"
}
field() { python3 -c 'import json, sys
value = json.load(sys.stdin)
for name in sys.argv[1].split("."): value = value[int(name) if name.isdigit() else name]
print(value)' "$1"; }

start() {
    export DATA_DIR=$dir/data TODO_MODE=production SECRET_KEY=benchmark-secret-of-thirty-two-bytes-or-more
    # Limits stay on, so that their check is measured, but never refuse.
    export TODO_LIMITS_COST_PER_MINUTE=${COST_PER_MINUTE:-2000000000}
    export TODO_LIMITS_ANONYMOUS_COST_PER_MINUTE=${COST_PER_MINUTE:-2000000000}
    export TODO_AUTH_SIGN_INS_PER_ADDRESS=0 TODO_AUTH_REGISTRATIONS_PER_ADDRESS=0 TODO_DATABASE_MAX_CONNECTIONS=${CONNECTIONS:-6} LOG_LEVEL=${LOG_LEVEL:-warn}
    # Every answer is made anew, unless the cache is what is measured.
    export TODO_SERVER_ANSWER_CACHE_BYTES=${ANSWER_CACHE_BYTES:-0}
    mkdir -p "$DATA_DIR" "$dir/queries"
    postgres_pid=
    if [ "${DATABASE:-postgres}" = sqlite ]; then
        export DATABASE_URL=sqlite://$DATA_DIR/todo.sqlite
    else
        pg=$(postgres_bin)
        mkdir -p "$dir/cluster"
        if [ "$(id -u)" = 0 ]; then chown postgres: "$dir/cluster"; chmod a+x "$dir"; fi
        as_postgres "$pg/initdb" -D "$dir/cluster" -U bench -A trust --locale=C.UTF-8 -E UTF8 >"$dir/initdb.log"
        port=$(free_port)
        as_postgres "$pg/postgres" -D "$dir/cluster" -p "$port" -c listen_addresses=127.0.0.1 \
            -c unix_socket_directories= -c shared_buffers=256MB >"$dir/postgres.log" 2>&1 &
        disown
        until "$pg/pg_isready" -q -h 127.0.0.1 -p "$port"; do sleep 0.2; done
        # Not `$!`: that is the shell that changed the user.
        postgres_pid=$(head -n 1 "$dir/cluster/postmaster.pid")
        "$pg/createdb" -h 127.0.0.1 -p "$port" -U bench bench
        export DATABASE_URL=postgres://bench@127.0.0.1:$port/bench
    fi
    "$bin" migrate
    # shellcheck disable=SC2086 # several words on purpose
    "$bin" fill ${FILL:-} | tee "$dir/fill.log"
    if [ -n "$postgres_pid" ]; then "$pg/psql" -q "$DATABASE_URL" -c 'VACUUM ANALYZE'; fi
    PORT=${PORT:-0} "$bin" serve >"$dir/server.out" 2>"$dir/server.log" &
    server_pid=$!
    disown
    until grep -q '^listening on' "$dir/server.out"; do sleep 0.05; done
    URL=$(sed -n 's/^listening on //p' "$dir/server.out")
    email=$(sed -n 's/.* as \([^ ]*@[^ ]*\) with the password .*/\1/p' "$dir/fill.log")
    password=$(sed -n 's/.* with the password \(.*\)/\1/p' "$dir/fill.log")
    sign_in='mutation($email: String!, $password: String!) { sessionCreate(input: {email: $email, password: $password}) { accessToken } }'
    TOKEN=$(ask "" "$sign_in" "{\"email\": \"$email\", \"password\": \"$password\"}" | field data.sessionCreate.accessToken)
    queries
    printf 'URL=%s\nTOKEN=%s\nEMAIL=%s\nPASSWORD=%s\nSERVER_PID=%s\nPOSTGRES_PID=%s\nDATABASE_URL=%s\n' \
        "$URL" "$TOKEN" "$email" "$password" "$server_pid" "$postgres_pid" "$DATABASE_URL" >"$dir/env"
    cat "$dir/env"
}

# The bodies of the four queries; ids come from the filled data.
queries() {
    local found item team tags
    found=$(ask "$TOKEN" '{ items(first: 1) { nodes { id } } organization { teams(first: 1) { nodes { id } } tags(first: 2) { nodes { id } } } }')
    item=$(field data.items.nodes.0.id <<<"$found")
    team=$(field data.organization.teams.nodes.0.id <<<"$found")
    tags="\"$(field data.organization.tags.nodes.0.id <<<"$found")\", \"$(field data.organization.tags.nodes.1.id <<<"$found")\""
    printf '%s' '{"query": "query Board { items(first: 50) { nodes { id title status priority dueAt team { id name } assignees { id displayName } tags { id name color } comments { totalCount } } pageInfo { hasNextPage endCursor } } }"}' >"$dir/queries/board.json"
    printf '%s' "{\"query\": \"query One(\$id: ID!) { item(id: \$id) { id title description status priority dueAt comments(first: 20) { nodes { id body createdAt author { id displayName } } } } }\", \"variables\": {\"id\": \"$item\"}}" >"$dir/queries/item.json"
    printf '%s' "{\"query\": \"mutation Add(\$i: ItemCreateInput!) { itemCreate(input: \$i) { item { id title status } } }\", \"variables\": {\"i\": {\"teamId\": \"$team\", \"title\": \"bench item\", \"description\": \"made by bench\", \"tagIds\": [$tags]}}}" >"$dir/queries/create.json"
    printf '%s' '{"query": "{ __typename }"}' >"$dir/queries/hello.json"
}

case $command in
start) start ;;
clean)
    . "$dir/env"
    delete="DELETE FROM item WHERE title = 'bench item'"
    if [ -n "$POSTGRES_PID" ]; then
        "$(postgres_bin)/psql" -q "$DATABASE_URL" -c "$delete"
    else
        # What belongs to an item goes with it, as on PostgreSQL.
        python3 - "${DATABASE_URL#sqlite://}" "$delete" <<'PY'
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1], timeout=60)
connection.execute("PRAGMA foreign_keys = ON")
connection.execute(sys.argv[2])
connection.commit()
PY
    fi
    ;;
stop)
    . "$dir/env"
    kill "$SERVER_PID" 2>/dev/null || true
    while kill -0 "$SERVER_PID" 2>/dev/null; do sleep 0.1; done
    if [ -n "$POSTGRES_PID" ]; then kill -INT "$POSTGRES_PID" 2>/dev/null || true; fi
    ;;
*) echo "start, clean or stop" >&2; exit 2 ;;
esac
