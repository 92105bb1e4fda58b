#!/bin/sh
# pytest.sh ARG…: run pytest with the first Python that has it: one in build/venv (with the reference
# suites of .ci/requirements.txt, without which their tests skip), else Debian's python3-pytest.
set -eu
for python in build/venv/bin/python python3 /usr/bin/python3; do
    if "$python" -c 'import pytest' >/dev/null 2>&1; then
        exec env PYTHONDONTWRITEBYTECODE=1 "$python" -m pytest -p no:cacheprovider -ra "$@"
    fi
done
echo "no Python here has pytest: apt-get install python3-pytest" >&2
exit 1
