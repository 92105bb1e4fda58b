#!/bin/bash
# base-images.sh: for CI only. Makes sure that Docker runs and that debian:trixie-slim is there: where
# no registry can be reached, a stand-in is made of Debian's own packages with debootstrap.
set -eu
cd "$(dirname "$0")/.."
mkdir -p build/ci
IMAGE=debian:trixie-slim
MIRROR=${DEBIAN_MIRROR:-http://deb.debian.org/debian}

start_docker() # [OPTION…]
{
    local log=/var/log/dockerd-ci.log
    setsid dockerd "$@" >"$log" 2>&1 </dev/null &
    local pid=$!
    echo "$pid" >build/ci/dockerd.pid # .ci/run ends it
    for _ in $(seq 60); do
        docker info >/dev/null 2>&1 && return 0
        kill -0 "$pid" 2>/dev/null || break
        sleep 1
    done
    tail -n 20 "$log"
    kill "$pid" 2>/dev/null || true
    return 1
}

if ! docker info >/dev/null 2>&1; then
    echo "Docker's engine does not answer: starting one"
    # the second needs nothing of the file system below
    start_docker || start_docker --storage-driver vfs
fi

if docker image inspect "$IMAGE" >/dev/null 2>&1; then
    echo "$IMAGE is here"
    exit 0
fi
if timeout 60 docker pull -q "$IMAGE"; then
    exit 0
fi

echo "$IMAGE cannot be pulled: making a stand-in"
root=$(mktemp -d)
trap 'rm -rf "$root"' EXIT
debootstrap --variant=minbase trixie "$root" "$MIRROR"
# as the real image: no package lists, no archives, no manuals
rm -rf "$root"/var/lib/apt/lists/* "$root"/var/cache/apt/*.bin "$root"/var/cache/apt/archives/*.deb \
    "$root"/usr/share/doc/* "$root"/usr/share/man/* "$root"/usr/share/locale/*
tar -C "$root" -c . | docker import - "$IMAGE"
