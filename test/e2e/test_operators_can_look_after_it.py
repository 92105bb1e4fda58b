"""check-config, backup, verify-store, news for the service manager, the man page, make install."""
import os
import re
import shutil
import socket
import sqlite3
import subprocess

import pytest

from harness import assay as program
from harness.assay import asset_body
from harness.deadline import patient


# --- check-config

def test_check_config_prints_what_would_hold():
    done = program.run("check-config", "--max-width", "640", env={"ASSAY_RETAIN": "7200s"})
    assert done.returncode == 0 and not done.stderr
    settings = dict(line.split("=", 1) for line in done.stdout.splitlines() if not line.startswith("#"))
    assert settings["ASSAY_MAX_WIDTH"] == "640" and settings["ASSAY_RETAIN"] == "2h"
    assert settings["ASSAY_LISTEN"] == "127.0.0.1:5001"
    again = program.run("check-config", env={name: value for name, value in settings.items()})
    assert again.stdout == done.stdout    # its lines are an environment file


def test_check_config_says_what_the_server_would_say():
    for flags, env in ((["--max-width", "0"], {}), (["--bogus"], {}), ([], {"ASSAY_BOGUS": "1"}),
                       ([], {"ASSAY_API_KEY": "short"}), ([], {"ASSAY_WEBHOOK_SECRET": "none"})):
        done = program.run("check-config", *flags, env=env)
        assert done.returncode == 2 and len(done.stderr.splitlines()) == 1 and not done.stdout, done
        server = program.run("server", *flags, env=env)
        assert server.stderr.partition(": ")[2] == done.stderr.partition(": ")[2]


def test_check_config_opens_nothing_and_shows_no_secret(tmp_path):
    secrets = {"ASSAY_API_KEY": "name:0123456789abcdef",
               "ASSAY_WEBHOOK_SECRET": "whsec_MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIz",
               "ASSAY_STORE": "redis://127.0.0.1:1/0", "ASSAY_STORE_PASSWORD": "hush-hush"}
    done = program.run("check-config", env=secrets, cwd=tmp_path)
    assert done.returncode == 0 and not os.listdir(tmp_path)
    for secret in ("0123456789abcdef", "whsec_", "hush"):
        assert secret not in done.stdout + done.stderr


# --- backup, verify-store

def test_a_backup_is_a_store_like_any_other(servers, tmp_path):
    assay = servers.start()
    ids = [assay.submit(path) for path in ("small.jpg", "text.jpg", "small.jpg")]
    for asset_id in ids:
        assay.ended(asset_id)
    copy = tmp_path / "copy.db"
    done = program.run("backup", str(copy), "--store", assay.store)    # while it runs
    assert done.returncode == 0 and not done.stderr, done
    later = assay.submit("small.jpg")
    assert program.run("verify-store", "--store", f"sqlite:{copy}").returncode == 0
    restored = servers.start(store=f"sqlite:{copy}")
    assert [asset["id"] for asset in restored.all_assets()] == ids[::-1]
    assert restored.get(f"/assets/{later}").status == 404
    assert restored.post(asset_body("small.jpg")).status == 202


def test_a_backup_overwrites_nothing(assay, tmp_path):
    there = tmp_path / "there"
    there.write_text("precious")
    done = program.run("backup", str(there), "--store", assay.store)
    assert done.returncode == 2 and there.read_text() == "precious"
    assert os.listdir(tmp_path) == ["there"]
    for arguments in ([], ["a", "b"]):
        assert program.run("backup", *arguments, "--store", assay.store, cwd=tmp_path).returncode == 2
    missing = program.run("backup", str(tmp_path / "x"), "--store", f"sqlite:{tmp_path}/none.db")
    assert missing.returncode == 1 and not os.path.exists(tmp_path / "none.db")


def test_a_store_in_use_is_verified(servers):
    assay = servers.start("--workers", "1")
    for _ in range(30):
        assay.submit("small.jpg")
    done = program.run("verify-store", "--store", assay.store)
    assert done.returncode == 0 and done.stdout.endswith("\nsound\n"), done
    assert "accepted = queued + started + success + failed + pruned" in done.stdout


def test_a_store_that_does_not_add_up_is_found_out(servers):
    assay = servers.start("--workers", "0")
    assay.submit("small.jpg")
    assay.stop()
    with sqlite3.connect(assay.store.removeprefix("sqlite:")) as db:
        db.execute("UPDATE counters SET accepted = accepted + 1")
    db.close()
    done = program.run("verify-store", "--store", assay.store)
    assert done.returncode == 1 and "NOT accepted" in done.stdout and done.stdout.endswith("NOT SOUND\n"), done


# --- the service manager

@pytest.mark.parametrize("abstract", [False, True])
def test_the_service_manager_is_told(servers, tmp_path, abstract):
    name = f"@assay-test-{os.getpid()}" if abstract else str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind("\0" + name[1:] if abstract else name)
        manager.settimeout(patient(10))
        assay = servers.start("--workers", "0", env={"NOTIFY_SOCKET": name, "WATCHDOG_USEC": "400000"})
        told = [manager.recv(100) for _ in range(4)]
        assert told[0] == b"READY=1" and set(told[1:]) == {b"WATCHDOG=1"}
        assay.stop()
        while told[-1] != b"STOPPING=1":
            told.append(manager.recv(100))


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="systemd-analyze is not installed")
def test_the_unit_is_one_that_systemd_takes(tmp_path):
    unit = tmp_path / "assay.service"
    with open(f"{program.PROJECT}/dist/assay.service", encoding="utf-8") as f:
        unit.write_text(f.read().replace("/usr/bin/assay", program.BINARY))
    done = subprocess.run(["systemd-analyze", "verify", "--man=no", str(unit)], capture_output=True, text=True,
                          check=False)
    assert "assay.service" not in done.stderr and done.returncode == 0, done


# --- what is shipped

def test_the_readme_has_the_table_of_the_source():
    table = program.run("help", "--settings").stdout
    with open(f"{program.PROJECT}/README.md", encoding="utf-8") as f:
        assert table in f.read(), "put what `build/assay help --settings` prints into README.md"


def test_the_man_page_names_every_setting_and_command():
    page = program.run("help", "--man").stdout.replace("\\-", "-")
    for name in re.findall(r"`(--[a-z-]+|ASSAY_[A-Z_]+)`", program.run("help", "--settings").stdout):
        assert name in page, name
    for command in re.findall(r"^  ([a-z-]+) ", program.run("help").stdout, re.MULTILINE):
        assert command in page or command in ("version", "help"), command


@pytest.mark.parametrize("folder", ["build", "./build/"])
def test_make_does_not_build_where_the_link_to_the_program_is(folder):
    if not shutil.which("make"):
        pytest.skip("there is no make here")
    env = {name: value for name, value in program.environment().items() if not name.startswith("MAKE")}
    done = subprocess.run(["make", "-n", f"BUILD={folder}"], cwd=program.PROJECT, env=env, capture_output=True, text=True,
                          check=False)
    assert done.returncode == 2 and "Take another folder" in done.stderr and not done.stdout, done


def test_make_install_puts_everything_in_its_place(tmp_path):
    build = os.path.relpath(os.path.dirname(os.path.realpath(program.BINARY)), program.PROJECT)
    if not build.startswith("build") or not shutil.which("make"):
        pytest.skip("the program under test was not built here")
    env = {name: value for name, value in program.environment().items() if not name.startswith("MAKE")}
    done = subprocess.run(["make", "-o", f"{build}/assay", "install", f"BUILD={build}", f"DESTDIR={tmp_path}", "PREFIX=/usr"],
                          cwd=program.PROJECT, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done
    for path in ("usr/bin/assay", "usr/share/man/man1/assay.1", "usr/lib/systemd/system/assay.service",
                 "usr/share/assay/prometheus-rules.yml", "usr/share/assay/grafana-dashboard.json"):
        assert os.path.getsize(tmp_path / path) > 0, path
    done = subprocess.run([str(tmp_path / "usr/bin/assay"), "version"], capture_output=True, check=False)
    assert done.returncode == 0
