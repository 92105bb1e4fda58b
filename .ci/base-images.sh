#!/bin/bash
# base-images.sh: for CI only. Makes sure that Docker runs and that the official images are there:
# debian:trixie-slim, redis:8 and valkey/valkey:8. Where no registry can be reached, stand-ins are made
# of Debian's own packages.
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

here() # IMAGE: it is, or can be pulled
{
    docker image inspect "$1" >/dev/null 2>&1 || timeout 60 docker pull -q "$1"
}

if ! here "$IMAGE"; then
    echo "$IMAGE cannot be pulled: making a stand-in"
    root=$(mktemp -d)
    trap 'rm -rf "$root"' EXIT
    debootstrap --variant=minbase trixie "$root" "$MIRROR"
    # as the real image: no package lists, no archives, no manuals
    rm -rf "$root"/var/lib/apt/lists/* "$root"/var/cache/apt/*.bin "$root"/var/cache/apt/archives/*.deb \
        "$root"/usr/share/doc/* "$root"/usr/share/man/* "$root"/usr/share/locale/*
    tar -C "$root" -c . | docker import - "$IMAGE"
fi

# As the official images are to one who uses them: programs in PATH, a user 999 who owns /data.
store_stand_in() # IMAGE NAME PACKAGE…
{
    local image=$1 name=$2
    shift 2
    if here "$image"; then
        return
    fi
    echo "$image cannot be pulled: making a stand-in"
    docker build -q -t "$image" - <<END
FROM $IMAGE
RUN groupadd -r -g 999 $name && useradd -r -g $name -u 999 -d /data $name \\
    && apt-get update -q && apt-get install -q -y --no-install-recommends $* \\
    && rm -rf /var/lib/apt/lists/* && mkdir -p /data && chown $name:$name /data
RUN printf '#!/bin/sh\\nset -e\\n[ "\${1#-}" = "\$1" ] || set -- $name-server "\$@"\\nexec "\$@"\\n' \\
    >/usr/local/bin/docker-entrypoint.sh && chmod 755 /usr/local/bin/docker-entrypoint.sh
VOLUME /data
WORKDIR /data
EXPOSE 6379
ENTRYPOINT ["docker-entrypoint.sh"]
CMD ["$name-server"]
END
}
store_stand_in redis:8 redis redis-server redis-tools
store_stand_in valkey/valkey:8 valkey valkey-server valkey-tools
