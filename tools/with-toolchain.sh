#!/bin/sh
# with-toolchain.sh server|test|test-e2e: run `make native-…` where a toolchain is. Called by make,
# which passes MAKE, CC, PKG_CONFIG, PACKAGES, MODE, WAY, ARGS and V in the environment.
#
# The first way that this machine offers is taken, and said; WAY=… asks for one of them:
#   native  a compiler and the libraries are here
#   docker  Docker is here, and debian:trixie-slim is or can be pulled: in a container
#   apt     Debian 12 or 13, as root: the packages of packages.txt are installed, then natively
set -eu
target=$1
here=$(dirname "$0")
: "${MAKE:=make}" "${CC:=gcc}" "${PKG_CONFIG:=pkg-config}" "${PACKAGES:=}" "${MODE:=release}"
: "${WAY:=}" "${ARGS:=}" "${V:=}"
BASE_IMAGE=debian:trixie-slim

case $target in
server) kinds='build' ;;
*) kinds='build test' ;;
esac

say()
{
    printf 'assay: %s\n' "$*" >&2
}

# --- native ---

# What is missing here, in words on one line; nothing if all is there.
missing()
{
    if [ "$(uname -s)" != Linux ]; then
        echo "Linux (the jail is made of its seccomp and Landlock)"
        return
    fi
    if ! echo '#include <stdio.h>' | "$CC" -E - >/dev/null 2>&1; then
        echo "a C compiler ($CC)"
        return
    fi
    if ! command -v "$PKG_CONFIG" >/dev/null 2>&1; then
        echo "$PKG_CONFIG"
        return
    fi
    libraries=$PACKAGES
    [ "$target" = test ] && libraries="$libraries cmocka libjpeg"
    for library in $libraries; do
        "$PKG_CONFIG" --exists "$library" || printf '%s ' "$library"
    done
    if [ "$target" = test-e2e ] && ! "$here/pytest.sh" --version >/dev/null 2>&1; then
        printf 'pytest '
    fi
}

run_native()
{
    # one job for each processor, unless the caller has said how many
    case " ${MAKEFLAGS:-} " in
    *-j*) jobs= ;;
    *) jobs=-j$(nproc) ;;
    esac
    # shellcheck disable=SC2086 # $jobs may be nothing; the other settings are in MAKEFLAGS
    exec "$MAKE" --no-print-directory $jobs "native-$target"
}

# --- docker ---

docker_works()
{
    command -v docker >/dev/null 2>&1 && docker info >/dev/null 2>&1
}

base_image_works()
{
    docker image inspect "$BASE_IMAGE" >/dev/null 2>&1 || docker pull "$BASE_IMAGE" >&2
}

# The host's network is the container's where the engine runs on this very Linux. Elsewhere (a Mac,
# Docker Desktop) it lives in a machine of its own.
engine_shares_our_network()
{
    [ "$(uname -s)" = Linux ] &&
        [ "$(docker info --format '{{.OperatingSystem}}' 2>/dev/null)" != 'Docker Desktop' ]
}

run_server_in_docker()
{
    docker build --target runtime -t assay:local . >&2 || exit 1
    set -- --rm --read-only --cap-drop ALL --security-opt no-new-privileges --stop-timeout 30 \
        --tmpfs /tmp:rw,noexec,nosuid,nodev,size=16m \
        -v assay-data:/data -v "$PWD:/assets:ro"
    # settings in the caller's environment count here too, but not paths of this machine
    for name in $(env | sed -n 's/^\(ASSAY_[A-Z_]*\)=.*/\1/p'); do
        case $name in
        ASSAY_SHARED | ASSAY_ROOT | ASSAY_STORE | ASSAY_LISTEN | ASSAY_MONITOR_LISTEN | *_FILE) ;;
        *) set -- "$@" -e "$name" ;;
        esac
    done
    if [ -t 0 ] && [ -t 1 ]; then
        set -- -it "$@"
    fi
    if engine_shares_our_network; then
        # so a webhook to localhost means what the reader thinks, and nothing is open to others
        # shellcheck disable=SC2086 # ARGS is a list
        exec docker run --network host "$@" assay:local server \
            --listen 127.0.0.1:5001 --monitor-listen 127.0.0.1:5555 $ARGS
    fi
    say "in this Docker 'localhost' is the container: write host.docker.internal in webhook URLs"
    # shellcheck disable=SC2086
    exec docker run -p 127.0.0.1:5001:5001 -p 127.0.0.1:5555:5555 \
        --add-host host.docker.internal:host-gateway "$@" assay:local server $ARGS
}

run_tests_in_docker()
{
    docker build --target test -t assay-test:local . >&2 || exit 1
    # stores are made and synced by the hundred: in memory, not in the layers of a container
    set -- --rm --init --cap-drop ALL --security-opt no-new-privileges --tmpfs /tmp:rw,exec,mode=1777
    shared=${ASSAY_SHARED:-../shared}
    if [ -d "$shared" ]; then
        set -- "$@" -v "$(cd "$shared" && pwd):/shared:ro" -e ASSAY_SHARED=/shared
    fi
    [ -z "${TESTS:-}" ] || set -- "$@" -e "TESTS=$TESTS"
    exec docker run "$@" assay-test:local \
        make --no-print-directory "native-$target" "MODE=$MODE" "ARGS=$ARGS" "V=$V"
}

run_in_docker()
{
    case $target in
    server) run_server_in_docker ;;
    *) run_tests_in_docker ;;
    esac
}

# --- apt ---

apt_works()
{
    [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1 &&
        grep -q -E '^VERSION_ID="1[23]"' /etc/os-release && grep -q '^ID=debian' /etc/os-release
}

run_with_apt()
{
    # shellcheck disable=SC2086 # a list of kinds
    say "installing with apt-get: $("$here/packages.sh" $kinds)"
    # shellcheck disable=SC2086
    "$here/packages.sh" --install $kinds try >&2
    lacks=$(missing)
    [ -z "$lacks" ] || { say "still missing: $lacks"; exit 1; }
    run_native
}

# --- which ---

give_up()
{
    say "cannot $target here. $1"
    say "It needs Docker, or these Debian packages: "
    # shellcheck disable=SC2086
    say "    apt-get install $("$here/packages.sh" $kinds)"
    exit 1
}

lacks=$(missing)
case $WAY in
native)
    [ -z "$lacks" ] || give_up "Missing: $lacks"
    run_native
    ;;
docker)
    docker_works || give_up "Docker's engine does not answer."
    base_image_works || give_up "$BASE_IMAGE cannot be pulled."
    run_in_docker
    ;;
apt)
    apt_works || give_up "WAY=apt is for root on Debian 12 or 13."
    run_with_apt
    ;;
'') ;;
*) give_up "WAY is native, docker or apt, not '$WAY'." ;;
esac

[ -n "$lacks" ] || run_native
if docker_works && base_image_works; then
    say "in a container, because this is missing here: $lacks"
    run_in_docker
fi
if apt_works; then
    say "missing here: $lacks"
    run_with_apt
fi
give_up "Missing: $lacks; Docker's engine does not answer or cannot pull $BASE_IMAGE; and this is not root on Debian 12 or 13."
