"""/openapi.json against the live server: schemathesis makes requests of all kinds, right ones and wrong ones,
and checks every answer. (test/unit/test_openapi.c sees to it that no path is left out.)"""
import importlib.util
import os
import subprocess
import sys

import pytest

from harness import assay as program
from harness.deadline import patient

HERE = os.path.dirname(os.path.abspath(__file__))


def test_the_description_is_the_files(assay):
    answer = assay.get("/openapi.json")
    assert answer.status == 200 and answer.headers["content-type"] == "application/json"
    with open(f"{program.PROJECT}/src/api/openapi.json", "rb") as f:
        assert answer.body == f.read()
    assert answer.json["openapi"].startswith("3.1")


@pytest.mark.skipif(not importlib.util.find_spec("schemathesis"), reason="schemathesis (PyPI) is not installed")
def test_schemathesis_finds_nothing(servers):
    assay = servers.start("--webhook-allow", "none")
    done = subprocess.run(
        [sys.executable, "-c", "from schemathesis.cli import schemathesis; schemathesis()",
         "--config-file", os.path.join(HERE, "schemathesis.toml"),
         "run", f"http://127.0.0.1:{assay.port}/openapi.json", "--checks", "all", "--max-examples", "25",
         "--seed", "1", "--request-timeout", "10", "--no-color",
         "--header", "Accept: application/json"],    # else /events is a stream that does not end
        cwd=assay.folder, env=program.environment(), capture_output=True, text=True, timeout=patient(150),
        check=False)
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
