# What people type. `just` alone lists it; docs/CONTRIBUTING.md says more.

# A snapshot that differs fails its test and leaves no file behind; `just generated` writes it.
export INSTA_UPDATE := env('INSTA_UPDATE', 'no')

_list:
    @just --list --unsorted

# Format, types and lints.
check:
    cargo fmt --all --check
    cargo clippy --workspace --all-targets --locked -- -D warnings

# All tests, or those whose names hold one of the words, on every database that is there: `just test cursor sync`.
test *WORDS:
    cargo test --locked -- {{ WORDS }}

# The stories of one file: `just story items`.
story FILE:
    cargo test --locked --test it -- {{ FILE }}::

# What is printed by the server and committed: schema, policy page, snapshots. Review the diff.
generated:
    cargo build --locked
    cargo run --locked --quiet -- schema > schema.graphql
    cargo run --locked --quiet -- policy > docs/POLICY.md
    INSTA_UPDATE=always cargo test --locked --test it -- policy::

# The playground's script and stylesheet, from the packages of its lock file; needs npm.
playground:
    scripts/refresh-playground.sh

# Licences, sources and versions of dependencies; with `advisories` too where their database can be reached.
deny *WHICH='licenses bans sources':
    cargo deny --locked check --hide-inclusion-graph {{ WHICH }}

# A server on http://127.0.0.1:8000, its database in data/.
run *ARGS:
    cargo run --locked -- {{ ARGS }}

# The same with sample data, optimized.
demo:
    cargo run --locked --profile quick -- demo

# Figures, beside another release's binary: `just bench BEFORE AFTER`.
bench BEFORE AFTER:
    bench/compare.sh {{ BEFORE }} {{ AFTER }}

# Every check, as before landing.
ci:
    .ci/run
