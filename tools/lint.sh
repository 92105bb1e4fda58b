#!/bin/bash
# lint.sh: everything about the text of the code. Gates: format, include directions, file length,
# clang-tidy, shellcheck. Reports only: clang-analyzer and gcc -fanalyzer. A tool that is absent is said and
# skipped; in CI (CI=true) that is a failure, and the reports, which nobody would read there, are left out.
set -u
cd "$(dirname "$0")/.." || exit 1
failed=0
CLANG_FORMAT_VERSION=14 # Debian 12's: other versions lay some lines out differently

gate() # NAME COMMAND…
{
    local name=$1
    shift
    if "$@"; then
        echo "ok      $name"
    else
        echo "FAILED  $name"
        failed=1
    fi
}

absent() # NAME WHY
{
    echo "skipped $1: $2"
    [ -z "${CI:-}" ] || failed=1
}

mapfile -t c_files < <(find src test bench -name '*.[ch]' 2>/dev/null | LC_ALL=C sort)
mapfile -t sources < <(find src -name '*.c' | LC_ALL=C sort)
mapfile -t scripts < <(git ls-files | xargs grep -lE '^#!/bin/(ba)?sh' 2>/dev/null)

short_files()
{
    local long
    long=$(find src -name '*.[ch]' -exec wc -l {} + | awk '$1 > 700 && $2 != "total"')
    [ -z "$long" ] || { echo "$long: more than 700 lines: one idea in each file"; return 1; }
}

# Each source by itself (several in one go confuse clang-tidy 14), with the flags of `make`.
tidy()
{
    local flags checks=--checks=${CI:+-clang-analyzer-*}
    flags=$(make -s --no-print-directory MODE=debug print-cflags)
    printf '%s\n' "${sources[@]}" |
        xargs -P "$(nproc)" -n 1 sh -c 'flags=$1 checks=$2; shift 2; clang-tidy --quiet "$checks" "$@" -- $flags' \
            tidy "$flags" "$checks" \
            >build/tidy.txt 2>/dev/null
    echo "report  clang-analyzer: $(grep -c 'warning:.*\[clang-analyzer' build/tidy.txt) remarks in build/tidy.txt"
    grep -A3 ' error: ' build/tidy.txt
    ! grep -q ' error: ' build/tidy.txt
}

analyzer()
{
    local flags
    flags=$(make -s --no-print-directory CC=gcc MODE=debug print-cflags)
    printf '%s\n' "${sources[@]}" |
        xargs -P "$(nproc)" -n 1 sh -c 'flags=$1; shift; gcc $flags -Wno-error -fanalyzer -c "$@" -o /dev/null' analyzer "$flags" \
            >build/analyzer.txt 2>&1
    echo "report  gcc -fanalyzer: $(grep -c 'warning:' build/analyzer.txt) remarks in build/analyzer.txt"
}

mkdir -p build
gate 'include directions' tools/check-includes.sh
gate 'file length' short_files
version=$(clang-format --version 2>/dev/null | sed -n 's/.*version \([0-9]*\).*/\1/p')
if [ "$version" = "$CLANG_FORMAT_VERSION" ]; then
    gate 'clang-format' clang-format --dry-run -Werror "${c_files[@]}"
else
    absent clang-format "version $CLANG_FORMAT_VERSION is the reference, here is ${version:-none}"
fi
if command -v shellcheck >/dev/null; then
    gate 'shellcheck' shellcheck -S warning "${scripts[@]}"
else
    absent shellcheck 'not installed'
fi
if command -v clang-tidy >/dev/null; then
    gate 'clang-tidy' tidy
else
    absent clang-tidy 'not installed'
fi
[ -n "${CI:-}" ] || ! command -v gcc >/dev/null || analyzer
exit $failed
