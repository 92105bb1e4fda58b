"""ASSAY_API_KEY and ASSAY_API_KEY_FILE."""
import base64

import pytest

from harness import assay as program
from harness.assay import asset_body
from harness.client import problem

KEY, OTHER = "0123456789abcdef-team", "fedcba9876543210"


def bearer(key):
    return {"Authorization": f"Bearer {key}"}


@pytest.fixture(scope="module")
def guarded(module_servers):
    return module_servers.start(env={"ASSAY_API_KEY": f"team:{KEY}\n{OTHER}"})


@pytest.mark.parametrize("method, path", [
    ("POST", "/assets/image"), ("POST", "/assets/images"), ("GET", "/assets"), ("GET", "/assets/0000000"),
    ("GET", "/events"), ("GET", "/metrics"), ("GET", "/openapi.json"), ("GET", "/no/such/path"),
    ("OPTIONS", "/assets"), ("HEAD", "/assets")])
def test_without_a_key_nothing_is_told(guarded, method, path):
    for headers in ({}, bearer("wrong"), bearer(KEY[:-1]), {"Authorization": KEY}):
        answer = guarded.request(method, path, None, headers)
        assert answer.status == 401 and "bearer" in answer.headers["www-authenticate"].lower()
        if method != "HEAD":
            problem(answer, 401)


def test_each_key_opens(guarded):
    password = base64.b64encode(f"anybody:{OTHER}".encode()).decode()
    for headers in (bearer(KEY), bearer(OTHER), {"Authorization": f"Basic {password}"}):
        answer = guarded.post(asset_body("small.jpg"), headers=headers)
        assert answer.status == 202, answer
        assert guarded.get(answer.headers["location"], headers).status == 200


def test_health_is_free(guarded):
    assert guarded.get("/healthz").status == guarded.get("/readyz").status == 200
    assert program.run("health", "--listen", f"127.0.0.1:{guarded.port}").returncode == 0


def test_keys_are_nowhere_to_be_seen(guarded):
    seen = b""
    with open(f"/proc/{guarded.process.pid}/environ", "rb") as f:    # a jailed child shows its own to nobody
        seen += f.read()
    for pid in guarded.processes():
        with open(f"/proc/{pid}/cmdline", "rb") as f:
            seen += f.read()
    assert KEY.encode() not in seen and OTHER.encode() not in seen
    assert KEY not in guarded.log() and OTHER not in guarded.log()


def test_one_clients_idempotency_key_is_not_anothers(guarded):
    ids = {guarded.post(asset_body("small.jpg"), headers={**bearer(key), "Idempotency-Key": "k"}).json["id"]
           for key in (KEY, OTHER)}
    assert len(ids) == 2


def test_keys_may_come_from_a_file(servers, tmp_path):
    path = tmp_path / "keys"
    path.write_text(f"# the team's\nteam:{KEY}\n")
    assay = servers.start(env={"ASSAY_API_KEY_FILE": str(path)})
    assert assay.get("/assets").status == 401
    assert assay.get("/assets", bearer(KEY)).status == 200


@pytest.mark.parametrize("variables", [
    {"ASSAY_API_KEY": "short"}, {"ASSAY_API_KEY": "# no key"}, {"ASSAY_API_KEY": KEY, "ASSAY_API_KEY_FILE": "/x"},
    {"ASSAY_API_KEY_FILE": "/no/such/file"}])
def test_a_start_without_a_good_key_is_refused(variables):
    done = program.run("server", "--listen", "127.0.0.1:0", env=variables)
    assert done.returncode == 2 and len(done.stderr.splitlines()) == 1
    assert "ASSAY_API_KEY" in done.stderr and KEY not in done.stderr


def test_a_port_that_others_reach_without_a_key_is_warned_of(servers):
    def warnings(*flags, everywhere=True, **more):
        assay = servers.new(*flags, **more)
        if everywhere:
            assay.flags += ["--listen", f"0.0.0.0:{assay.port}"]
        assay.start()
        assay.stop()    # so that all of its log is there
        return [name for name in ("open_to_network", "webhooks_inside") if f"event={name} " in assay.log()]
    assert warnings() == ["open_to_network", "webhooks_inside"]
    assert warnings("--webhook-allow", "public") == ["open_to_network"]
    assert warnings(everywhere=False) == []
    assert warnings(env={"ASSAY_API_KEY": KEY}) == []
