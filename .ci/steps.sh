# steps.sh: what .ci/run does, one function for each step. Each runs in a shell of its own with
# `set -e`, from the project's root, with its own time limit. STEPS: name, seconds, what it shows.
# shellcheck shell=bash disable=SC2034

STEPS='
packages     600  the tools that this machine lacks are installed
lint         600  format, include directions, clang-tidy, shellcheck
gcc          400  builds with gcc, without a warning
clang        400  builds with clang, without a warning
test         600  make test
e2e          600  make test-e2e
asan         700  unit and contract tests under address and undefined behaviour sanitizers
asan-e2e     900  the same for the whole program
tsan         700  unit and contract tests under the thread sanitizer
tsan-e2e     900  the same for the whole program
fuzzers      300  each fuzzer builds with clang and runs for some seconds
base-image   400  debian:trixie-slim, redis:8 and valkey/valkey:8 are here
docker-test  700  make test WAY=docker: Debian 13
docker-e2e   600  make test-e2e WAY=docker
compose      900  make test-compose: five workers, kills, cuts, restarts, hot reload
image        300  an image lives its whole life in the hardened container
bare         900  make test installs what a bare Debian 13 lacks; clang builds there too
arm64        900  cross-built for arm64, unit tests under emulation
'

PREFIX=assay-ci-$$ # of everything in Docker that a step makes

step_packages()
{
    tools/packages.sh --install build test try lint browser
    local wanted=()
    command -v curl >/dev/null || wanted+=(curl)
    command -v docker >/dev/null || wanted+=(docker.io)
    command -v docker-compose >/dev/null || wanted+=(docker-compose)
    command -v debootstrap >/dev/null || wanted+=(debootstrap)
    /usr/bin/python3 -c 'import ensurepip' 2>/dev/null || wanted+=(python3-venv)
    [ ${#wanted[@]} -eq 0 ] || DEBIAN_FRONTEND=noninteractive apt-get install -q -y "${wanted[@]}"
    command -v promtool >/dev/null || apt-get install -q -y --no-install-recommends prometheus
    # The reference library for signatures, schemathesis and axe-core: tools/pytest.sh finds them here.
    /usr/bin/python3 -m venv --system-site-packages build/venv
    build/venv/bin/pip install -q -r .ci/requirements.txt
}

step_lint() { make lint; }
step_gcc() { make -j2 CC=gcc build tests; }
step_clang() { make -j2 CC=clang build tests; }
step_test() { make test; }
step_e2e() { make test-e2e; }
step_asan() { make -j2 MODE=asan unit; }
# What a browser shows is no matter of sanitizers.
SANITIZED_E2E='ARGS=--ignore=test/e2e/test_the_monitor_is_for_people.py'
step_asan-e2e() { make MODE=asan test-e2e "$SANITIZED_E2E"; }

step_tsan()
{
    # gcc 12's runtime knows no layout with more random bits than this
    sysctl -q -w vm.mmap_rnd_bits=28 || true
    # The faults of the store are met by one thread alone, over and over: nothing to see, minutes lost.
    make -j2 MODE=tsan unit \
        TESTS="$(find test/unit test/contract -name 'test_*.c' ! -name test_store_faults.c \
            ! -name test_jpeg_damage.c | sort | tr '\n' ' ')"
}

step_tsan-e2e() { make MODE=tsan test-e2e "$SANITIZED_E2E"; }
step_fuzzers() { make -j2 fuzz FUZZ_SECONDS=5; }
step_base-image() { .ci/base-images.sh; }
step_docker-test() { make test WAY=docker; }
step_docker-e2e() { make test-e2e WAY=docker; }
step_compose() { make test-compose; }

# The image as README.md tells to run it, and as an operator would: nothing writable but /data,
# no capability, another user than root.
step_image()
{
    local server=$PREFIX-image id state=
    docker build --target runtime -t "$PREFIX-runtime" .
    trap 'docker logs "$PREFIX-image" | tail -n 40; docker rm -f "$PREFIX-image" >/dev/null; docker volume rm -f "$PREFIX-image" >/dev/null; docker rmi "$PREFIX-runtime" >/dev/null' EXIT
    docker run -d --name "$server" --read-only --cap-drop ALL --security-opt no-new-privileges \
        --tmpfs /tmp:rw,noexec,nosuid,nodev,size=16m \
        -v "$server:/data" -v "$PWD:/assets:ro" -p 127.0.0.1::5001 -p 127.0.0.1::5555 \
        "$PREFIX-runtime"
    local api monitor
    api=http://$(docker port "$server" 5001/tcp | head -n 1)
    monitor=http://$(docker port "$server" 5555/tcp | head -n 1)
    echo "API at $api, monitor at $monitor"

    soon 30 'ready' curl -sf "$api/readyz"
    [ "$(docker exec "$server" id -u)" != 0 ]
    soon 60 'healthy' healthy "$server"

    state_of() { curl -sf "$api/assets/$1" | grep -o '"state": *"[a-z]*"' | head -n 1 | cut -d '"' -f 4; }
    ended() { state=$(state_of "$id"); [ "$state" = success ] || [ "$state" = failed ]; }
    post()
    {
        curl -sf "$api/assets/image" -H 'Content-Type: application/json' \
            -d "{\"assetPath\":{\"location\":\"local\",\"path\":\"$1\"},\"notifications\":{}}" |
            sed -n 's/.*"id": *"\([^"]*\)".*/\1/p'
    }
    id=$(post ./images/foo)
    soon 20 "the end of ./images/foo" ended
    [ "$state" = success ]
    id=$(post images/too-big.jpg)
    soon 20 "the end of images/too-big.jpg" ended
    [ "$state" = failed ]
    curl -sf "$api/assets/$id" | grep -F 'has a width greater than 1000px' | grep -qF 'has a height greater than 1000px'
    curl -sf "$monitor/" | grep -qi '<html'

    docker stop -t 30 "$server" >/dev/null # SIGTERM: a drain, and exit 0
    [ "$(docker inspect -f '{{.State.ExitCode}}' "$server")" = 0 ]
    docker start "$server" >/dev/null # what it knew is in the volume
    api=http://$(docker port "$server" 5001/tcp | head -n 1)
    soon 30 'ready again' curl -sf "$api/readyz"
    [ "$(state_of "$id")" = failed ]
}

healthy() { [ "$(docker inspect -f '{{.State.Health.Status}}' "$1")" = healthy ]; }

soon() # SECONDS WHAT COMMAND…: until the command is right, or fail
{
    local until=$((SECONDS + $1)) what=$2
    shift 2
    until "$@" >/dev/null 2>&1; do
        [ $SECONDS -lt $until ] || { echo "not $what in time" >&2; return 1; }
        sleep 0.2
    done
    echo "$what"
}

# A copy of the sources without anything built, for a container that gets nothing else of ours.
in_debian_13() # COMMAND…
{
    trap 'docker rm -f "$PREFIX-debian" >/dev/null' EXIT
    local shared=()
    [ ! -d ../shared ] || shared=(-v "$(cd ../shared && pwd):/shared:ro" -e ASSAY_SHARED=/shared)
    docker run -d --init --name "$PREFIX-debian" "${shared[@]}" -e CI=true debian:trixie-slim sleep 3600
    docker exec "$PREFIX-debian" mkdir -p /srv/assay
    tar -c --exclude=./build --exclude=./data --exclude=./.git . | docker exec -i "$PREFIX-debian" tar -C /srv/assay -x
    docker exec -w /srv/assay "$PREFIX-debian" sh -ec "$*"
}

step_bare()
{
    in_debian_13 '
        apt-get update -q
        apt-get install -q -y --no-install-recommends make
        make test
        apt-get install -q -y --no-install-recommends clang
        make -j2 CC=clang build tests'
}

# A jail is made by the kernel it runs on and cannot be emulated: its tests find that out and skip.
step_arm64()
{
    in_debian_13 '
        dpkg --add-architecture arm64
        apt-get update -q
        export DEBIAN_FRONTEND=noninteractive
        foreign=
        for p in $(tools/packages.sh build test); do
            case $p in libjs-*) ;; lib*) foreign="$foreign $p:arm64" ;; esac
        done
        apt-get install -q -y --no-install-recommends make pkgconf gcc-aarch64-linux-gnu qemu-user $foreign
        export PKG_CONFIG_LIBDIR=/usr/lib/aarch64-linux-gnu/pkgconfig:/usr/share/pkgconfig
        # Not these under emulation: thousands of rounds that no processor changes.
        tests=$(find test/unit test/contract -name "test_*.c" ! -name test_store_faults.c \
            ! -name test_store_random.c ! -name test_jpeg_damage.c | sort | tr "\n" " ")
        make -j2 CC=aarch64-linux-gnu-gcc build tests TESTS="$tests"
        RUNNER=qemu-aarch64 make CC=aarch64-linux-gnu-gcc unit TESTS="$tests"'
}
