"""JSON texts from a public suite, each posted as a body: refused, never a crash and never silence."""
import os

import pytest

from harness.client import problem

LIMIT = 64 * 1024


def suite(folder):
    for name in sorted(os.listdir(folder)):
        with open(os.path.join(folder, name), "rb") as f:
            yield name, f.read()


def test_texts_that_are_not_json_are_400_and_those_that_are_422(assay, shared):
    folder = shared and os.path.join(shared, "json", "test_parsing")
    if not folder or not os.path.isdir(folder):
        pytest.skip("there is no suite of JSON texts beside the project")
    wrong = []
    for name, text in suite(folder):
        right = {"n": [400], "y": [422], "i": list(range(400, 500))}[name[0]]
        if len(text) > LIMIT:
            right = [413]
        elif name.startswith("y_") and ("escaped_null" in name or "duplicated" in name):
            right = [400]    # JSON, but parsers disagree on NUL and on repeated keys
        try:
            answer = assay.post(text)
            problem(answer, *right)
        except (AssertionError, OSError) as error:
            wrong.append((name, text[:60], str(error)[:300]))
    assert not wrong, "\n".join(map(str, wrong))
