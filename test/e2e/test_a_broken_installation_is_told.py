"""libcurl is loaded late: where it is not there, or another library has its name, the start says so."""
import os
import shutil
import subprocess

import pytest

from harness import assay as program


def jansson():
    for line in subprocess.run(["ldd", program.BINARY], stdout=subprocess.PIPE, text=True, check=True).stdout.splitlines():
        if "libjansson" in line:
            return line.split("=>")[1].split()[0]
    pytest.skip("built without shared libraries")


@pytest.fixture(params=["no library at all", "another library"])
def broken(request, tmp_path):
    """The environment of a machine with such a libcurl, and what is to be said there."""
    fake = tmp_path / "libcurl.so.4"
    if request.param == "another library":
        shutil.copy(jansson(), fake)
        said = "libcurl.so.4 has no curl_"
    else:
        fake.write_bytes(b"")
        said = "libcurl.so.4: file too short"
    return {"LD_LIBRARY_PATH": str(tmp_path)}, said


@pytest.mark.parametrize("command", [
    ["server", "--listen", "127.0.0.1:1", "--monitor-listen", "none"],
    ["health"],
    ["webhook", "test", "http://127.0.0.1:1/"],
    ["webhook", "resend", "--all-dead"],
], ids=lambda c: " ".join(c[:2]))
def test_what_needs_it_refuses_to_start(broken, command, tmp_path):
    environment, said = broken
    if command[0] == "server":
        command = [*command, "--store", f"sqlite:{tmp_path}/assay.db"]
    ended = program.run(*command, env=environment, cwd=tmp_path)
    assert ended.returncode == (78 if command[0] == "server" else 1) and said in ended.stderr


def test_files_are_checked_without_it(broken):
    ended = program.run("check", os.path.join(program.PROJECT, "images", "good.jpg"), env=broken[0])
    assert ended.returncode == 0, ended.stderr
