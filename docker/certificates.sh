#!/usr/bin/env bash
# A self-signed pair for nginx: docker/certificates/server.crt and server.key. For a try, not for users: put your own there.
#
#   docker/certificates.sh [NAME ...]     names and addresses that it is for; localhost and 127.0.0.1 when left out
set -euo pipefail
cd "$(dirname "$0")"

[ $# -gt 0 ] || set -- localhost 127.0.0.1
names=
for name in "$@"; do
    case $name in
    *[!0-9.:a-fA-F]*) kind=DNS ;;
    *.* | *:*) kind=IP ;;
    *) kind=DNS ;;
    esac
    names="${names:+$names,}$kind:$name"
done
mkdir -p certificates
if [ -e certificates/server.key ]; then
    echo "docker/certificates/server.key is there already; nothing was written" >&2
    exit 1
fi
umask 077
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 365 -subj "/CN=$1" -addext "subjectAltName=$names" \
    -addext basicConstraints=critical,CA:FALSE \
    -keyout certificates/server.key -out certificates/server.crt 2>/dev/null
echo "docker/certificates/server.crt for $names, a year long"
