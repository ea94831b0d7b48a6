#!/usr/bin/env bash
# A long run of mixed load, to see whether memory grows: readers of boards and items, a search, writers (creates, updates,
# comments, deletions for good), subscribers, and a webhook, for MINUTES (10). Draws FIGURE (docs/images/soak.svg): memory
# and requests over time. Prints what was asked, what failed, and memory of the second minute and of the last.
#
#   bench/soak.sh [DIR]         DIR: a folder to work in; a temporary one when left out
#
# Needs what bench/subject.sh needs. BIN: the binary; DATABASE=sqlite: the embedded database; READERS (4), WRITERS (2),
# SUBSCRIBERS (20).
set -euo pipefail
cd "$(dirname "$0")/.."

dir=${1:-$(mktemp -d)}
export COST_PER_MINUTE=0 ANSWER_CACHE_BYTES=${ANSWER_CACHE_BYTES:-16777216}
export TODO_WEBHOOKS_ALLOWED_CIDRS=127.0.0.0/8 TODO_WEBHOOKS_ALLOW_HTTP=on
FILL=${FILL:---organizations 2 --items 10000 --items-each 100 --comments 2} bench/subject.sh start "$dir" >&2
trap 'bench/subject.sh stop "$dir"' EXIT
MINUTES=${MINUTES:-10} FIGURE=${FIGURE:-docs/images/soak.svg} python3 bench/soak.py "$dir"
