#!/bin/sh
# packages.sh KIND…: the names from packages.txt of these kinds, on one line.
# packages.sh --install KIND…: install them with apt-get (as root, on Debian).
set -eu
list=$(dirname "$0")/packages.txt

names()
{
    for kind; do
        awk -v kind="$kind" '$1 == kind { printf "%s ", $2 }' "$list"
    done
}

if [ "${1:-}" != --install ]; then
    names "$@"
    exit
fi
shift
export DEBIAN_FRONTEND=noninteractive
apt-get update -q
wanted=
for kind; do
    for name in $(names "$kind"); do
        # "try": not every release has it, and the tests do without
        [ "$kind" = try ] && ! apt-cache show "$name" >/dev/null 2>&1 && continue
        wanted="$wanted $name"
    done
done
# shellcheck disable=SC2086 # a list of names
apt-get install -q -y --no-install-recommends $wanted
