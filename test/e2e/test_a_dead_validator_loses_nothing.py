"""The jail: children that read hostile bytes can do nothing else, may die at any time, and are replaced."""
import http.client
import os
import signal

import pytest

from harness import assay as program
from harness.deadline import eventually

needs_jail = pytest.mark.skipif(program.built_with_sanitizer(), reason="sanitizer builds run without the jail")


def status_of(pid):
    with open(f"/proc/{pid}/status", encoding="utf-8") as f:
        return dict(line.rstrip("\n").split(":\t", 1) for line in f if ":\t" in line)


@needs_jail
def test_validators_are_jailed(assay):
    assay.ended(assay.submit("good.jpg"))
    validators = assay.validators()
    assert len(validators) == 2, validators
    for pid in validators:
        status = status_of(pid)
        assert status["Seccomp"] == "2" and status["NoNewPrivs"] == "1" and status["Threads"] == "1"
        if os.geteuid() != 0:
            with pytest.raises(PermissionError):    # not even the user whom it runs as may look into it
                os.listdir(f"/proc/{pid}/fd")
            continue
        with open(f"/proc/{pid}/environ", "rb") as f:
            assert f.read().strip(b"\0") == b""
        files = [os.readlink(f"/proc/{pid}/fd/{fd}") for fd in os.listdir(f"/proc/{pid}/fd")]
        assert len([name for name in files if name.startswith("socket:")]) == 1, files
        assert {name for name in files if not name.startswith("socket:")} <= {"/dev/null", assay.log_path}, files


def test_validators_that_are_killed_while_they_work_lose_nothing(servers, sink):
    assay = servers.start("--workers", "0", "--log-level", "warn")
    urls = sink.all()
    ids = [assay.submit("good.jpg" if i % 2 else "too-wide.jpg", **urls) for i in range(600)]
    assay.stop()
    assay.flags += ["--workers", "2"]
    assay.start()

    def ended():
        return len(sink.at(urls["onSuccess"]) + sink.at(urls["onFailure"]))

    killed = 0
    while killed < 8 and ended() < len(ids) - 60:
        victims = assay.validators()
        if victims:
            os.kill(victims[killed % len(victims)], signal.SIGKILL)
            killed += 1
        # Nobody may be hit twice over the same file, for that would be the file's fault: let some end.
        now = ended()
        sink.until(lambda: ended() >= min(now + 30, len(ids) - 30), 10, "work goes on after a death")
    assert killed
    for i, asset_id in enumerate(ids):
        assert sink.ending(asset_id, within=10).state == ("success" if i % 2 else "failed")

    def all_are_there_again():    # a dead one is replaced, at the latest, when a file is for it
        for asset_id in [assay.submit("good.jpg") for _ in range(10)]:
            assert assay.ended(asset_id)["state"] == "success"
        return len(assay.validators()) == 2
    eventually(all_are_there_again, 5, "the dead were replaced")
    assert assay.get("/readyz").status == 200


def test_a_validator_that_is_killed_while_idle_is_replaced(servers):
    assay = servers.start("--workers", "1")
    assay.ended(assay.submit("good.jpg"))
    for _ in range(3):
        [victim] = eventually(assay.validators, 5, "there is a validator")
        os.kill(victim, signal.SIGKILL)
        eventually(lambda: not program.alive(victim), 5, "it is dead")
        assert assay.ended(assay.submit("good.jpg"))["state"] == "success"


def test_without_the_maker_of_validators_it_ends_and_a_new_start_finishes_the_work(servers, sink):
    assay = servers.start()
    os.kill(assay.zygote(), signal.SIGKILL)
    ids = []
    try:
        for _ in range(20):
            ids.append(assay.submit("good.jpg", **sink.all()))
    except (OSError, http.client.HTTPException):
        pass    # it is on its way out
    assert assay.wait_exit(25) == 1
    [line] = [line for line in assay.log().splitlines() if "level=error" in line]
    assert "zygote" in line
    assay.start()
    for asset_id in ids:
        assert sink.ending(asset_id).state == "success"
        assert [a.state for a in sink.of(asset_id)].count("success") == 1


def test_without_the_sandbox_it_warns_and_shows(servers):
    assay = servers.start(env={"ASSAY_SANDBOX": "off"})
    assert assay.get("/readyz").json["sandbox"] == {"enabled": False, "layers": "off"}
    warnings = [line for line in assay.log().splitlines() if "level=warn" in line and "sandbox" in line.lower()]
    assert len(warnings) == 1, assay.log()
    assert assay.ended(assay.submit("good.jpg"))["state"] == "success"
    outer = status_of("self")["Seccomp_filters"]    # a container's own, which all inherit
    for pid in assay.validators():
        assert status_of(pid)["Seccomp_filters"] == outer
