#!/usr/bin/env bash
# Records the statements that the tests make the server send, one for each set of names, as those of "the release before":
# tests/it/released/{sqlite,postgres}.sql. Run it when a release is made; `upgrades.rs` then holds every later schema to
# them. Needs python3.
#
#   scripts/record-statements.sh [FILTER…]     of the tests; all when left out
set -euo pipefail
cd "$(dirname "$0")/.."

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
# A failing test has sent its statements, too.
TEST_RECORD_STATEMENTS=$folder cargo test --quiet --test it -- "$@" || true

for database in sqlite postgres; do
    python3 - "$folder/$database" "tests/it/released/$database.sql" <<'PY'
def shape(sql):
    # What it does, with which names: all that a schema can break.
    return sql.split(" ", 1)[0], frozenset(re.findall(r'"[^"]+"', sql))
found = {}
for sql in set(open(sys.argv[1])):
    sql = sql.strip()
    if not re.match(r"(SELECT|INSERT|UPDATE|DELETE|WITH)\b", sql) or re.search(r"store_probe|seaql_migrations|information_schema|sqlite_master|pg_catalog|pragma_", sql):
        continue
    key = shape(sql)
    if key not in found or (len(sql), sql) < (len(found[key]), found[key]):
        found[key] = sql
with open(sys.argv[2], "w") as out:
    for sql in sorted(found.values()):
        out.write(sql + "\n")
print(len(found))
PY
done
