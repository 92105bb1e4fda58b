"""/openapi.json against the live server: schemathesis makes requests of all kinds, right ones and wrong ones,
and checks every answer. (test/unit/test_openapi.c sees to it that no path is left out.)"""
import importlib.util
import json
import os
import subprocess
import sys

import pytest

from harness import assay as program
from harness.deadline import patient

HOOKS = os.path.join(os.path.dirname(os.path.abspath(__file__)), "harness", "describing.py")
DESCRIPTION = f"{program.PROJECT}/src/api/openapi.json"
needs_schemathesis = pytest.mark.skipif(not importlib.util.find_spec("schemathesis"),
                                        reason="schemathesis (PyPI) is not installed")


def schemathesis(assay, description, *args):
    """Run it with every check and without an exception."""
    return subprocess.run(
        [sys.executable, "-c", "from schemathesis.cli import schemathesis; schemathesis()", "run", description,
         "--url", f"http://127.0.0.1:{assay.port}", "--checks", "all", "--seed", os.environ.get("SEED", "1"),
         "--request-timeout", "10", "--no-color",
         "--header", "Accept: application/json", *args],    # else /events is a stream that does not end
        cwd=assay.folder, env=program.environment({"SCHEMATHESIS_HOOKS": HOOKS}), capture_output=True, text=True,
        timeout=patient(400), check=False)


def test_the_description_is_the_files(assay):
    answer = assay.get("/openapi.json")
    assert answer.status == 200 and answer.headers["content-type"] == "application/json"
    with open(DESCRIPTION, "rb") as f:
        assert answer.body == f.read()
    assert answer.json["openapi"].startswith("3.1")


@needs_schemathesis
def test_schemathesis_finds_nothing(servers):
    assay = servers.start("--webhook-allow", "none")
    done = schemathesis(assay, f"http://127.0.0.1:{assay.port}/openapi.json", "--max-examples", "150")
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]


def any_batch_is_said_to_do(document):
    for body in document["paths"]["/assets/images"]["post"]["requestBody"]["content"].values():
        del body["schema"]["contains"]


def paths_are_said_to_be_longer(document):
    document["components"]["schemas"]["AssetRequest"]["properties"]["assetPath"]["properties"]["path"]["minLength"] = 3


def assets_are_said_to_begin_as_started(document):
    document["components"]["schemas"]["Accepted"]["properties"]["state"]["const"] = "started"


def keys_are_said_to_be_anything(document):
    for path in "/assets/image", "/assets/images":
        [key] = document["paths"][path]["post"]["parameters"]
        key["schema"] = {"type": "string"}


@needs_schemathesis
@pytest.mark.parametrize("lie, found", [
    (any_batch_is_said_to_do, "Schema-valid request rejected"),
    (paths_are_said_to_be_longer, "Schema-violating request accepted"),
    (assets_are_said_to_begin_as_started, "Response violates schema"),
    (keys_are_said_to_be_anything, "Schema-valid request rejected"),
])
def test_schemathesis_finds_a_lie(servers, tmp_path, lie, found):
    assay = servers.start("--webhook-allow", "none")
    with open(DESCRIPTION, encoding="utf-8") as f:
        document = json.load(f)
    lie(document)
    (tmp_path / "openapi.json").write_text(json.dumps(document))
    done = schemathesis(assay, str(tmp_path / "openapi.json"), "--max-examples", "25", "--phases", "coverage,fuzzing",
                        "--include-path-regex", "^/assets/images?$")
    assert done.returncode == 1 and found in done.stdout, done.stdout[-6000:] + done.stderr[-2000:]
