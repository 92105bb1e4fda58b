#!/bin/sh
# build-on-change.sh: the builder of docker-compose.development.yml. Compiles the sources of /project
# (read-only) whenever one has changed, and puts the program into /build/bin when that went well. A
# mistake is shown here and changes nothing there.
#
# Changes are found by asking for names and times again and again: notifications do not reach into a
# container from every host.
set -u
poll_seconds=${POLL_SECONDS:-0.5}
objects=/build/debug bin=/build/bin

look()
{
    find /project/src /project/Makefile -type f -printf '%p %T@ %s\n' | sort
}

build()
{
    make -C /project --no-print-directory -j"$(nproc)" MODE=debug BUILD="$objects" "$objects/assay"
}

trap 'exit 0' TERM INT
mkdir -p "$bin" || exit 1
seen=
while :; do
    now=$(look)
    if [ "$now" != "$seen" ]; then
        seen=$now
        if ! build; then
            echo "build-on-change: it does not compile; what runs goes on" >&2
        elif cmp -s "$objects/assay" "$bin/assay"; then
            echo "build-on-change: nothing new"
        else
            # renamed: nobody ever starts half a program
            cp "$objects/assay" "$bin/assay.new" && mv "$bin/assay.new" "$bin/assay" &&
                echo "build-on-change: a new program"
        fi
    fi
    sleep "$poll_seconds" &
    wait $!
done
