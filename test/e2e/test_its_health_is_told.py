"""Liveness, readiness, `assay health`, and what the monitor's page shows."""
import html
import re

import pytest

from harness import assay as program
from harness.client import request


def test_healthz_says_that_it_is_alive(assay):
    answer = assay.get("/healthz")
    assert answer.status == 200 and answer.headers["content-type"] == "application/json"
    assert isinstance(answer.json["status"], str)


def test_readyz_says_what_it_stands_on(assay):
    answer = assay.get("/readyz")
    assert answer.status == 200 and answer.headers["content-type"] == "application/json"
    ready = answer.json
    assert ready["status"] == "ready"
    assert isinstance(ready["store"], dict) and ready["store"]
    assert isinstance(ready["sandbox"]["enabled"], bool) and isinstance(ready["sandbox"]["layers"], str)
    if not program.built_with_sanitizer():
        assert ready["sandbox"]["enabled"] and "seccomp" in ready["sandbox"]["layers"]


def test_health_asks_the_server_that_runs(assay):
    there = f"127.0.0.1:{assay.port}"
    assert program.run("health", "--listen", there).returncode == 0
    assert program.run("health", env={"ASSAY_LISTEN": there}).returncode == 0
    assert program.run("health", env={"ASSAY_LISTEN": there, "http_proxy": "http://127.0.0.1:9"}).returncode == 0


def test_health_asks_another_path_when_told_to(assay):
    monitor = assay.monitor_listen
    assert program.run("health", "--listen", monitor, "--health-path", "/healthcheck").returncode == 0
    refused = program.run("health", "--listen", monitor, "--health-path", "/nothing-here")
    assert refused.returncode == 1 and "/nothing-here answers 404" in refused.stderr
    assert program.run("health", "--health-path", "readyz").returncode == 2


def test_health_of_a_server_that_does_not_run_is_1_and_says_so():
    done = program.run("health", "--listen", f"127.0.0.1:{program.free_port()}")
    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1


def monitor(assay, path="/"):
    answer = request(assay.monitor_port, "GET", path)
    assert answer.status == 200, answer
    return answer, answer.body.decode()


@pytest.fixture
def watched(servers):
    """A server that has seen 5 assets, of which 2 failed; their ids."""
    assay = servers.start()
    failed = [assay.submit(path) for path in ("text.jpg", "<script>alert(1)</script>.jpg")]
    for asset_id in failed + [assay.submit("small.jpg") for _ in range(3)]:
        assay.ended(asset_id)
    return assay, failed


def test_the_monitor_counts(watched):
    figures = watched[0].figures()
    for name, count in (("accepted", 5), ("success", 3), ("failed", 2), ("queue depth", 0)):
        assert figures[name] == count, figures


def test_the_monitor_shows_the_depth_of_the_queue(servers):
    assay = servers.start("--workers", "0")
    for _ in range(4):
        assay.submit("small.jpg")
    assert assay.figures()["queue depth"] == assay.figures()["accepted"] == 4


def test_the_monitor_links_to_the_failed_ones(watched):
    assay, failed = watched
    _, page = monitor(assay)
    links = [html.unescape(link) for link in re.findall(r'href="([^"]*)"', page) if "failed" in link]
    assert links
    _, list_page = monitor(assay, links[0])
    assert all(asset_id in page + list_page for asset_id in failed)


def test_the_monitor_shows_hostile_names_as_text_and_runs_nothing(watched):
    assay, _ = watched
    for path in ("/", "/failed"):
        answer, page = monitor(assay, path)
        assert "<script>alert" not in page
        policy = answer.headers["content-security-policy"]
        assert "default-src 'none'" in policy and "unsafe" not in policy
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert not [name for name in answer.headers if name.startswith("access-control-")]


def test_the_monitor_can_be_switched_off(servers):
    assay = servers.new()
    assay.monitor_listen = "none"
    assay.start()
    with pytest.raises(OSError):
        request(assay.monitor_port, "GET", "/")
