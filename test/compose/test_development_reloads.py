"""docker-compose.development.yml over a copy of the project: what is changed there runs within seconds."""
import os
import shutil
import time

import pytest

from harness.assay import PROJECT, asset_body
from harness.client import request
from harness.deadline import eventually
from stack import Stack, closed, docker, opened

PARTS = ("Makefile", "Dockerfile", ".dockerignore", "src", "tools", "docker", "images", "docker-compose.yml",
         "docker-compose.development.yml")


@pytest.fixture(scope="module")
def stack(tmp_path_factory):
    folder = tmp_path_factory.mktemp("project")
    for part in PARTS:
        source, copy = os.path.join(PROJECT, part), folder / part
        shutil.copytree(source, copy) if os.path.isdir(source) else shutil.copy(source, copy)
    for path in (folder, *folder.rglob("*")):    # the containers' user is another one
        path.chmod(path.stat().st_mode | (0o555 if path.is_dir() else 0o444))
    for up in (folder.parent, folder.parent.parent):
        up.chmod(0o755)
    stack = opened(Stack("development", "development", folder=folder, ASSAY_WORKERS="1"))
    stack.up("--build", within=400)
    yield stack
    closed(stack)


def edit(stack, path, old, new):
    path = os.path.join(stack.folder, path)
    with open(path, encoding="utf-8") as f:
        text = f.read()
    assert old in text
    with open(path, "w", encoding="utf-8") as f:
        f.write(text.replace(old, new))


def ready_line(stack, service):
    return [line for line in stack.log(stack.container(service)).splitlines() if "event=ready" in line][-1]


def works(stack):
    answer = stack.post(asset_body("images/good.jpg"))
    return answer.status == 202 and stack.ended(answer.json["id"], within=10)["state"] == "success"


def test_a_change_runs_in_every_part_within_seconds(stack):
    assert works(stack)
    began = time.monotonic()
    edit(stack, "src/base/version.h", '#define ASSAY_VERSION "', '#define ASSAY_VERSION "changed-')
    for service in ("api", "worker", "monitor"):
        eventually(lambda s=service: "version=changed-" in ready_line(stack, s), 20, f"{service} is the changed one")
    print(f"in all three {time.monotonic() - began:.1f} s after the change")
    stack.wait_ready()
    assert works(stack)
    eventually(lambda: request(stack.monitor_port, "GET", "/").status == 200, 10, "the monitor answers")


def test_a_mistake_is_shown_and_the_old_program_goes_on(stack):
    before = [ready_line(stack, s) for s in ("api", "worker", "monitor")]
    edit(stack, "src/base/version.h", "#define ASSAY_VERSION", "#error here is the mistake\n#define ASSAY_VERSION")
    builder = stack.container("builder")
    eventually(lambda: "here is the mistake" in stack.log(builder) and "what runs goes on" in stack.log(builder), 20,
               "the builder shows it")
    assert works(stack)
    assert [ready_line(stack, s) for s in ("api", "worker", "monitor")] == before
    edit(stack, "src/base/version.h", "#error here is the mistake\n", "")
    edit(stack, "src/base/version.h", "changed-", "mended-")
    eventually(lambda: "version=mended-" in ready_line(stack, "api"), 20, "the mended one runs")


def test_the_parts_stop_by_themselves_when_asked(stack):
    for service in ("api", "worker", "monitor", "builder"):
        began = time.monotonic()
        docker("stop", "-t", "30", stack.container(service))
        assert stack.state(stack.container(service), ".State.ExitCode") == "0", service
        assert time.monotonic() - began < 25
