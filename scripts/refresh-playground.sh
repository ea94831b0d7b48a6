#!/usr/bin/env bash
# Rebuilds the playground's script and stylesheet in src/api/http/playground/assets from app.jsx beside them and the packages
# of package-lock.json. The results are committed, so neither a build of the server nor its users need Node.js; run this
# after changing app.jsx or a version (in that folder: `npm install --package-lock-only NAME@VERSION`). Needs bash, node 20 or
# newer, and npm.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
page=$root/src/api/http/playground
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

cp "$page"/{app.jsx,bundle.mjs,package.json,package-lock.json} "$work"
cd "$work"
npm ci --ignore-scripts --no-audit --no-fund --loglevel=error
node bundle.mjs

mkdir -p "$page/assets"
for file in playground.js playground.css NOTICE.txt VERSIONS.txt; do
  install -m 644 "out/$file" "$page/assets/$file"
done
cd "$page/assets"
wc -c playground.js playground.css NOTICE.txt VERSIONS.txt
