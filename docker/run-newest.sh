#!/bin/sh
# run-newest.sh COMMAND…: runs /build/bin/assay COMMAND…, and starts it again when the program is
# another one (docker-compose.development.yml). One that ended by itself is started again, too, after
# a moment: perhaps the next build mends it.
set -u
poll_seconds=${POLL_SECONDS:-0.5}
program=/build/bin/assay
child='' stopping=''

stamp()
{
    stat -c '%i %Y' "$program" 2>/dev/null
}

pause()
{
    sleep "$1" &
    wait $!
}

running()
{
    [ -n "$child" ] && kill -0 "$child" 2>/dev/null
}

# It drains; after five seconds a second signal ends it at once, for a person is waiting.
end_child()
{
    running || return 0
    kill -TERM "$child"
    tries=0
    while running; do
        tries=$((tries + 1))
        [ "$tries" -ne 50 ] || kill -TERM "$child" 2>/dev/null
        sleep 0.1
    done
    wait "$child" 2>/dev/null
}

trap 'stopping=yes' TERM INT
started=
while [ -z "$stopping" ]; do
    newest=$(stamp)
    if [ -n "$newest" ] && [ "$newest" != "$started" ]; then
        [ -z "$child" ] || echo "run-newest: a new program" >&2
        end_child
        "$program" "$@" &
        child=$! started=$newest
    elif [ -n "$started" ] && ! running; then
        wait "$child"
        echo "run-newest: ended with $?; it is started again" >&2
        started=
    fi
    pause "$poll_seconds"
done
running || exit 0
kill -TERM "$child"
wait "$child"
