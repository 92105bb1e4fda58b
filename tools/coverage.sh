#!/bin/sh
# coverage.sh BUILD: after tests ran in a MODE=cover build, which share of each source they reached.
set -eu
find "$1/obj" -name '*.gcda' | LC_ALL=C sort | while read -r data; do
    gcov -n "$data" 2>/dev/null
done | awk '
    /^File / { gsub(/\047/, "", $2); file = $2 }
    /^Lines executed:/ && file ~ /^src\/.*\.c$/ {
        split($0, part, /[:% ]+/)
        share = part[3]; lines = part[5]
        printf "%6.1f %%  of %5d  %s\n", share, lines, file
        all += lines; reached += share * lines / 100
        file = ""
    }
    END { if (all) printf "%6.1f %%  of %5d  in all\n", 100 * reached / all, all }'
