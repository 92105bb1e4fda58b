#!/bin/sh
# run-tests.sh BUILD PROGRAM…: run each test program, say what ran, add up what they counted.
#
# A program test/…/test_x is cmocka's: its "[ RUN ] / [ OK ]" lines are read. One named replay_X
# gets the folder test/fuzz/corpus/X and counts as one test for each file. A program that ends
# badly counts as one failure even if it reported none (a crash, a leak, a deadline). The last
# line is "N passed, N failed, N skipped"; with V=1 every test is named. Exit 1 if any failed.
# shellcheck disable=SC2086 # $RUNNER is a command with arguments, or nothing
set -u
build=$1
shift
deadline=${TEST_TIMEOUT:-300} # seconds for one program
RUNNER=${RUNNER:-}            # what runs the program, when this processor cannot: qemu-aarch64
passed=0 failed=0 skipped=0

# The sanitizers stop at the first fault, with a code that is not cmocka's count of failures.
export ASAN_OPTIONS="${ASAN_OPTIONS:-detect_leaks=1}"
export UBSAN_OPTIONS="${UBSAN_OPTIONS:-print_stacktrace=1}"
export TSAN_OPTIONS="${TSAN_OPTIONS:-halt_on_error=1}"

# stdin: what a cmocka program printed. One line each: "ok NAME", "failed NAME", "skipped NAME".
outcomes()
{
    awk '
        # What a test prints itself may stand before a marker on its line.
        function name(line) { sub(/.*\] +/, "", line); sub(/[ \r].*/, "", line); return line }
        /\[ RUN      \] /     { if (open != "") print "failed", open; open = name($0); next }
        open == ""            { next }
        /\[       OK \] /     { if (name($0) == open) { print "ok", open; open = "" } }
        /\[  SKIPPED \] /     { if (name($0) == open) { print "skipped", open; open = "" } }
        /\[  FAILED  \] /     { if (name($0) == open) { print "failed", open; open = "" } }
        END                   { if (open != "") print "failed", open }'
}

count()
{
    grep -c "^$1 " "$log.outcomes"
}

for program; do
    name=${program#*/test/}
    log=$build/log/$(echo "$name" | tr / -)
    mkdir -p "$build/log"
    began=$(date +%s)
    case $name in
    fuzz/replay_*)
        corpus=test/fuzz/corpus/${name#fuzz/replay_}
        timeout -k 5 "$deadline" $RUNNER "$program" "$corpus" >"$log" 2>&1 </dev/null
        status=$?
        find "$corpus" -maxdepth 1 -type f | LC_ALL=C sort | sed 's/^/ok /' >"$log.outcomes"
        ;;
    *)
        timeout -k 5 "$deadline" $RUNNER "$program" >"$log" 2>&1 </dev/null
        status=$?
        outcomes <"$log" >"$log.outcomes"
        ;;
    esac
    if [ "$status" -ne 0 ] && [ "$(count failed)" -eq 0 ]; then
        echo "failed the_whole_program_ended_with_status_$status" >>"$log.outcomes"
    fi
    ok=$(count ok) bad=$(count failed) skips=$(count skipped)
    passed=$((passed + ok)) failed=$((failed + bad)) skipped=$((skipped + skips))
    # which servers that speak for a Redis it ran over
    over=$(sed -n 's/^\[   over   \]\( .*\)/\1/p' "$log" | tr '\n' ',')
    verdict='ok    '
    [ "$bad" -gt 0 ] && verdict=FAILED
    printf '%s %-30s %4d passed, %d failed, %d skipped, %3d s%s\n' \
        "$verdict" "$name" "$ok" "$bad" "$skips" $(($(date +%s) - began)) "${over:+ (over${over%,})}"
    if [ -n "${V:-}" ]; then
        sed 's/^/           /' "$log.outcomes"
    else
        sed -n -e 's/^failed /           failed: /p' -e 's/^skipped /           skipped: /p' "$log.outcomes"
    fi
    if [ "$bad" -gt 0 ]; then
        echo "--- the end of $log:"
        tail -n 60 "$log"
        echo "---"
    fi
done

echo "$passed passed, $failed failed, $skipped skipped"
[ "$failed" -eq 0 ]
