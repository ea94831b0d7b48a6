# What people type. `just` alone lists it.

export INSTA_UPDATE := env('INSTA_UPDATE', 'no')

_list:
    @just --list --unsorted

# Format, types and lints.
check:
    cargo fmt --all --check
    cargo clippy --workspace --all-targets -- -D warnings

# All tests, on every database that is there.
test *FILTER:
    cargo test --locked {{ FILTER }}

# The stories of one file: `just story items`.
story FILE:
    cargo test --test it {{ FILE }}::

# What is printed by the server and committed: schema, policy page, snapshots.
generated:
    cargo build
    target/debug/todo-platform schema > schema.graphql
    target/debug/todo-platform policy > docs/POLICY.md
    INSTA_UPDATE=always cargo test --test it policy:: prices::

# The playground's script and stylesheet, from their packages.
playground:
    scripts/refresh-playground.sh

# A server with sample data, on http://127.0.0.1:8000.
demo:
    cargo run --release -- demo

# Figures, beside another release's binary: `just bench BEFORE AFTER`.
bench BEFORE AFTER:
    bench/compare.sh {{ BEFORE }} {{ AFTER }}

# Every check, as before landing.
ci:
    .ci/run
