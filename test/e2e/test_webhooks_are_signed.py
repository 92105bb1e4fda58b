"""Signatures that the reference library of Standard Webhooks verifies, and secrets that stay secret."""
import base64
import os

import pytest

from harness import assay as program
from harness.assay import run
from harness.deadline import eventually
from harness.sink import Answer

NEW_RAW = bytes((7 + 73 * n) % 256 for n in range(32))  # no table of anything has these in a row
NEW = "whsec_" + base64.b64encode(NEW_RAW).decode()
OLD = "whsec_" + base64.b64encode(bytes(range(100, 124))).decode()
STRANGE = "whsec_" + base64.b64encode(b"somebody else's key, 32 bytes").decode()


@pytest.fixture(scope="module")
def reference():
    try:
        import standardwebhooks
    except ImportError as why:
        pytest.skip(f"the reference library is not installed (pip install -r .ci/requirements.txt): {why}")
    return standardwebhooks


@pytest.fixture(scope="module")
def signing(module_servers):
    """A server that signs with two keys, as while one is replaced."""
    return module_servers.start(env={"ASSAY_WEBHOOK_SECRET": f"{NEW} {OLD}"})


def verified(reference, secret, arrival):
    headers = {name.lower(): value for name, value in arrival.headers}
    return reference.Webhook(secret).verify(arrival.body, headers)


@pytest.mark.parametrize("secret", [NEW, OLD], ids=["new", "old"])
def test_the_reference_library_verifies_what_any_live_key_signed(reference, signing, sink, secret):
    for path in ("small.jpg", "no-such-file.jpg"):
        asset_id = signing.submit(path, **sink.all())
        for arrival in sink.wait(asset_id, 2):
            assert verified(reference, secret, arrival) == arrival.json


def test_the_reference_library_refuses_another_key_and_another_body(reference, signing, sink):
    [arrival, _] = sink.wait(signing.submit("small.jpg", **sink.all()), 2)
    with pytest.raises(reference.WebhookVerificationError):
        verified(reference, STRANGE, arrival)
    arrival.body = arrival.body.replace(b"started", b"success")
    with pytest.raises(reference.WebhookVerificationError):
        verified(reference, NEW, arrival)


def test_every_attempt_is_signed_anew_under_one_id(reference, signing, sink):
    url = sink.url(503, 200)
    signing.submit("small.jpg", onSuccess=url)
    arrivals = sink.wait_at(url, 2)
    assert len({a.webhook_id for a in arrivals}) == 1
    for arrival in arrivals:
        assert verified(reference, NEW, arrival)["state"] == "success"
        assert "." not in arrival.webhook_id


def test_without_a_secret_nothing_is_signed(assay, sink):
    for arrival in sink.wait(assay.submit("small.jpg", **sink.all()), 2):
        assert arrival.header("webhook-signature") is None
        assert arrival.webhook_id and arrival.header("webhook-timestamp")


def test_a_secret_can_come_from_a_file(reference, servers, sink, tmp_path):
    path = tmp_path / "secret"
    path.write_text(NEW + "\n" + OLD + "\n")
    assay = servers.start(env={"ASSAY_WEBHOOK_SECRET_FILE": str(path)})
    for arrival in sink.wait(assay.submit("small.jpg", **sink.all()), 2):
        assert verified(reference, OLD, arrival)


def test_a_secret_is_shown_nowhere(signing, sink):
    # (Names of tests must not hold it: pytest puts the current one into the environment.)
    failing = sink.url(Answer(410))
    asset_id = signing.submit("small.jpg", onStart=failing, onSuccess=sink.url())
    sink.ending(asset_id)
    shown = [signing.log().encode(), signing.get("/readyz").body, signing.get(f"/assets/{asset_id}").body]
    for pid in signing.processes():
        for name in ("cmdline", "environ"):
            try:
                with open(f"/proc/{pid}/{name}", "rb") as f:
                    shown.append(f.read())
            except PermissionError:
                pass    # a jailed child does not let itself be looked at
    assert len(shown) >= 5
    for text in shown:
        for secret in (NEW, OLD):
            assert secret.encode() not in text and secret[6:].rstrip("=").encode() not in text


def test_its_validators_hold_no_copy_of_a_secret(signing):
    """Read through /proc/PID/mem, which needs the right to; a jailed child most often refuses."""
    if program.built_with_sanitizer():
        pytest.skip("the sanitizer's run-time keeps a copy of the environment of its own")
    looked = 0
    raw = NEW_RAW
    for pid in signing.processes():
        if pid == signing.process.pid:
            continue
        try:
            with open(f"/proc/{pid}/maps", encoding="ascii") as maps, open(f"/proc/{pid}/mem", "rb", 0) as mem:
                for line in maps:
                    span, rights = line.split()[:2]
                    start, end = (int(x, 16) for x in span.split("-"))
                    if "w" not in rights or end - start > 64 << 20:
                        continue
                    mem.seek(start)
                    data = mem.read(end - start)
                    assert NEW.encode() not in data and raw not in data, (pid, line)
                    looked += 1
        except OSError:
            continue
    if not looked:
        pytest.skip("no process of it lets its memory be read")


@pytest.mark.parametrize("secret", ["nonsense", "whsec_short", f"{NEW} {OLD} {STRANGE}", "whsec_" + "A" * 88],
                         ids=["no prefix", "too short", "three", "too long"])
def test_a_malformed_secret_stops_the_start_and_is_not_quoted(secret, tmp_path):
    ended = run("server", env={"ASSAY_WEBHOOK_SECRET": secret}, cwd=tmp_path)
    assert ended.returncode == 2, ended
    assert "ASSAY_WEBHOOK_SECRET" in ended.stderr and secret not in ended.stderr
    assert len(ended.stderr.strip().splitlines()) == 1


def test_two_sources_of_a_secret_stop_the_start(tmp_path):
    env = {"ASSAY_WEBHOOK_SECRET": NEW, "ASSAY_WEBHOOK_SECRET_FILE": str(tmp_path / "secret")}
    ended = run("server", env=env, cwd=tmp_path)
    assert ended.returncode == 2 and "cannot both be set" in ended.stderr
    ended = run("server", env={"ASSAY_WEBHOOK_SECRET_FILE": str(tmp_path / "none")}, cwd=tmp_path)
    assert ended.returncode == 2 and os.strerror(2) in ended.stderr


def test_a_secret_is_no_argument(tmp_path):
    ended = run("server", "--webhook-secret", NEW, cwd=tmp_path)
    assert ended.returncode == 2 and NEW not in ended.stderr


def test_rotation_needs_no_gap(reference, servers, sink):
    """A receiver with the old key, then one with the new: no delivery between is refused."""
    assay = servers.new(env={"ASSAY_WEBHOOK_SECRET": OLD}).start()
    first = sink.wait(assay.submit("small.jpg", **sink.all()), 2)
    assay.stop()
    assay.env["ASSAY_WEBHOOK_SECRET"] = f"{NEW}\n{OLD}"
    assay.start()
    between = sink.wait(assay.submit("small.jpg", **sink.all()), 2)
    assay.stop()
    assay.env["ASSAY_WEBHOOK_SECRET"] = NEW
    assay.start()
    last = sink.wait(assay.submit("small.jpg", **sink.all()), 2)
    eventually(lambda: len(last) == 2, 5, "the last ones are there")
    for arrival in first + between:
        assert verified(reference, OLD, arrival)
    for arrival in between + last:
        assert verified(reference, NEW, arrival)
