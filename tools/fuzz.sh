#!/bin/sh
# fuzz.sh SECONDS PROGRAM…: libFuzzer for SECONDS on each, one after the other. What is new is kept
# in build/fuzz/corpus, beside the project's own test/fuzz/corpus, which is only read; a crash is
# left in build/fuzz/crash-… and ends the run.
set -eu
seconds=$1
shift
for program; do
    parser=${program##*/fuzz_}
    mkdir -p "build/fuzz/corpus/$parser" "test/fuzz/corpus/$parser"
    echo "fuzzing $parser for $seconds s"
    dictionary=test/fuzz/$parser.dict
    [ -f "$dictionary" ] || dictionary=
    # -reload=0: nobody else writes to these folders
    "$program" -max_total_time="$seconds" -timeout=10 -rss_limit_mb=2048 -print_final_stats=1 \
        ${FUZZ_MAX_LEN:+-max_len="$FUZZ_MAX_LEN"} -reload=0 -artifact_prefix=build/fuzz/crash- \
        ${dictionary:+-dict="$dictionary"} \
        "build/fuzz/corpus/$parser" "test/fuzz/corpus/$parser" 2>&1 |
        grep -E -v '^#[0-9]+[[:space:]]+(NEW|REDUCE|pulse)' || true
    for crash in build/fuzz/crash-*; do
        [ -e "$crash" ] || continue
        echo "a crash was found: $crash" >&2
        exit 1
    done
done
