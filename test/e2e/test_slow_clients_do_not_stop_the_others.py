"""Clients that send or read slowly, on purpose: cut off in time, and nobody else notices."""
import concurrent.futures
import contextlib
import http.client
import os
import re
import resource
import shutil
import subprocess
import time

import pytest

from harness import deadline
from harness.client import problem
from harness.deadline import eventually
from harness.wire import Wire

HEAD = b"POST /assets/image HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 50\r\n\r\n"


def cut_off(assay, data, seconds):
    """Send data, then a byte now and then; assert that 408 comes after about so many seconds."""
    with Wire(assay.port) as wire:
        began = time.monotonic()
        wire.send(data)
        for _ in range(3):    # a byte in between moves no deadline
            time.sleep(seconds / 5)
            wire.send(b"x")
        answer = wire.response(within=2 * seconds)
        took = time.monotonic() - began
        problem(answer, 408)
        assert wire.closed()
    assert seconds - 0.5 <= took <= deadline.patient(seconds), took


def test_a_slow_head_and_a_slow_body_get_408(assay):
    with concurrent.futures.ThreadPoolExecutor(9) as pool:
        heads = [pool.submit(cut_off, assay, b"GET /healthz HTTP/1.1\r\nHost: local", 5) for _ in range(4)]
        bodies = [pool.submit(cut_off, assay, HEAD + b"{", 10) for _ in range(4)]
        served = pool.submit(lambda: assay.ended(assay.submit("small.jpg"))["state"])
        assert served.result() == "success"
        for slow in heads + bodies:
            slow.result()


@pytest.mark.parametrize("files", ["-Sn 1024", "-n 700"], ids=["the usual limit", "few files"])
def test_more_connections_than_there_is_room_for_stop_nobody(servers, files):
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard < 4096:
        pytest.skip("too few descriptors to open that many connections")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, 4096), hard))
    assay = servers.new("--workers", "2", "--log-level", "warn")
    assay.before = ["sh", "-c", f'ulimit {files} && exec "$@"', "sh"]
    assay.start()
    connection = http.client.HTTPConnection("127.0.0.1", assay.port, timeout=30)
    body = {"assetPath": {"location": "local", "path": "small.jpg"}}
    assert assay.post(body, connection=connection).status == 202
    with contextlib.ExitStack() as stack:
        wires = [stack.enter_context(Wire(assay.port)) for _ in range(1100)]
        answer = wires[-60].response()
        if answer is not None:    # beyond those that are told so they are just closed
            problem(answer, 503)
        assert wires[-60].closed()
        for _ in range(10):
            asset_id = assay.post(body, connection=connection).json["id"]
            eventually(lambda: assay.get(f"/assets/{asset_id}", connection=connection).json["state"] == "success",
                       5, "it is judged meanwhile")
    connection.close()
    eventually(lambda: succeeds(assay, body), 5, "there is room again")
    assert "Too many open files" not in assay.log()


def succeeds(assay, body):
    try:
        return assay.post(body).status == 202
    except (OSError, http.client.HTTPException):
        return False


def slowhttptest(assay, tmp_path, *kind):
    path = "/assets/image"
    done = subprocess.run(
        ["slowhttptest", *kind, "-c", "300", "-r", "150", "-i", "2", "-l", "8", "-p", "3", "-g", "-o",
         str(tmp_path / kind[0]), "-u", f"http://127.0.0.1:{assay.port}{path}"],
        capture_output=True, text=True, timeout=90, check=False, env={**os.environ, "TERM": "dumb"})
    return re.sub(r"\x1b\[[0-9;]*m", "", done.stdout), tmp_path / (kind[0] + ".csv")


def test_slowhttptest_leaves_the_service_available(assay, tmp_path):
    if not shutil.which("slowhttptest"):
        pytest.skip("slowhttptest is not installed")
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        attacks = [pool.submit(slowhttptest, assay, tmp_path, *kind) for kind in (
            ("-H", "-t", "GET"), ("-B", "-t", "POST", "-s", "4096", "-f", "application/json"))]
        while not all(attack.done() for attack in attacks):
            began = time.monotonic()
            assert assay.post({"assetPath": {"location": "local", "path": "small.jpg"}}).status == 202
            assert time.monotonic() - began < deadline.patient(1)
            concurrent.futures.wait(attacks, timeout=0.2, return_when=concurrent.futures.FIRST_COMPLETED)
    for attack in attacks:
        output, _ = attack.result()
        told = re.findall(r"service available:\s+(\w+)", output)
        assert told and set(told) == {"YES"}, output[-2000:]
