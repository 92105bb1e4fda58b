#!/bin/sh
# redis.sh: starts the shared store in the official image of Redis or Valkey, as it comes. Mounted by
# docker-compose.yml; POSIX sh only. `redis.sh health` is the container's health check. With
# REDIS_PASSWORD_FILE the first line of that file is the password that it asks for.
#
# Every answered step is on the disk before it is answered (appendfsync always), and nothing is ever
# evicted. What a loss of power leaves behind the last synced byte may be nonsense, though: the log has
# no checksums, and with a hole of zeros at its end Redis refuses to start. Nothing there was answered.
# So when a start fails and the log's end is to blame, the file is copied to /data/aof-before-repair-…,
# and its end is cut off. More than REDIS_REPAIR_BYTES are never cut: that is for a person to decide.
set -u
umask 077
data=/data
logs=$data/appendonlydir
: "${REDIS_REPAIR_BYTES:=4194304}" "${REDIS_MAXMEMORY:=1gb}" "${REDIS_PASSWORD_FILE:=}"

# redis-server or valkey-server: what is in this image
program()
{
    command -v "redis-$1" || command -v "valkey-$1"
}

say()
{
    echo "redis.sh: $*" >&2
}

# Never an argument, which all processes may read.
password=
if [ -n "$REDIS_PASSWORD_FILE" ]; then
    IFS= read -r password <"$REDIS_PASSWORD_FILE"
    if [ -z "$password" ]; then
        say "there is no password in $REDIS_PASSWORD_FILE, or user $(id -u) cannot read it"
        exit 1
    fi
fi

if [ "${1:-}" = health ]; then
    [ -z "$password" ] || export REDISCLI_AUTH="$password"
    [ "$("$(program cli)" ping)" = PONG ] # LOADING until the log has been read
    exit
fi

# Protected mode would refuse everyone but loopback; the network is the stack's own and no port of it
# is published.
serve()
{
    exec "$(program server)" - --dir "$data" --protected-mode no --save '' \
        --appendonly yes --appendfsync always --appenddirname "${logs##*/}" \
        --maxmemory "$REDIS_MAXMEMORY" --maxmemory-policy noeviction --tcp-keepalive 30 <<END
requirepass "$(printf %s "$password" | sed 's/[\\"]/\\&/g')"
END
}

# Redis as our child: its exit code; signals are passed on.
run()
{
    (serve) &
    child=$!
    trap 'kill -TERM "$child" 2>/dev/null' TERM INT
    wait "$child"
    status=$?
    while kill -0 "$child" 2>/dev/null; do # a signal ended the wait, not Redis
        wait "$child"
        status=$?
    done
    trap - TERM INT
    return "$status"
}

# The file that is written last: "file appendonly.aof.7.incr.aof seq 7 type i", the last of its kind.
last_log()
{
    sed -n 's/^file \(.*\) seq [0-9]* type i.*/\1/p' "$1" | tail -n 1
}

# 0: the end was torn and is mended. 1: it was not, or may not be.
repair()
{
    check=$(program check-aof) manifest=$logs/appendonly.aof.manifest
    [ -f "$manifest" ] || return 1
    if report=$("$check" "$manifest" 2>&1); then
        return 1
    fi
    file=$(last_log "$manifest")
    analyzed=$(echo "$report" | grep "^AOF analyzed: filename=$file,")
    cut=$(echo "$analyzed" | sed -n 's/.* diff=\([0-9]*\).*/\1/p')
    if [ -z "$file" ] || [ -z "$cut" ] || [ "$cut" -eq 0 ]; then
        say "the log is damaged, and not at its end: restore a backup, or mend it by hand. $report"
        return 1
    fi
    if [ "$cut" -gt "$REDIS_REPAIR_BYTES" ]; then
        say "the last $cut bytes of $file cannot be read. So many are not cut off by themselves:" \
            "look at them, then set REDIS_REPAIR_BYTES=$cut"
        return 1
    fi
    copy=$data/aof-before-repair-$(date -u +%Y%m%dT%H%M%SZ)
    if ! mkdir "$copy" || ! cp "$manifest" "$logs/$file" "$copy" || ! sync; then
        say "cannot copy $file to $copy, so nothing is repaired"
        return 1
    fi
    say "the last $cut bytes of $file are torn: cutting them off, after a copy to $copy"
    echo y | "$check" --fix "$manifest" >&2
}

run
status=$?
if [ "$status" -eq 1 ] && repair; then # 1: it could not start; a kill or a stop is another number
    serve
fi
exit "$status"
