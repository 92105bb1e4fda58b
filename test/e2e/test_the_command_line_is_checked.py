"""Every setting: known, readable, possible; else one clear line and exit 2. Flags win over the environment."""
import json
import os

import pytest

from harness import assay as program


def test_version_and_help():
    version = program.run("version")
    assert version.returncode == 0 and version.stdout.startswith("assay ") and not version.stderr
    overview = program.run("help")
    assert overview.returncode == 0
    for command in ("server", "health", "version", "help"):
        assert command in overview.stdout
    assert program.run("--help").stdout == overview.stdout


def test_help_of_a_command_shows_flag_variable_and_default_of_every_setting():
    told = program.run("help", "server")
    assert told.returncode == 0 and told.stdout == program.run("server", "--help").stdout
    for flag, variable, default in (
            ("--listen", "ASSAY_LISTEN", "127.0.0.1:5001"), ("--monitor-listen", "ASSAY_MONITOR_LISTEN", "5555"),
            ("--store", "ASSAY_STORE", "sqlite:data/assay.db"), ("--root", "ASSAY_ROOT", "."),
            ("--workers", "ASSAY_WORKERS", "processors"), ("--max-width", "ASSAY_MAX_WIDTH", "1000"),
            ("--max-height", "ASSAY_MAX_HEIGHT", "1000"), ("--max-bytes", "ASSAY_MAX_BYTES", "32"),
            ("--max-queued", "ASSAY_MAX_QUEUED", "1000000"), ("--retain", "ASSAY_RETAIN", "30"),
            ("--webhook-allow", "ASSAY_WEBHOOK_ALLOW", "public,private,loopback"),
            ("--webhook-deny", "ASSAY_WEBHOOK_DENY", ""), ("--log-format", "ASSAY_LOG_FORMAT", "logfmt"),
            ("--log-level", "ASSAY_LOG_LEVEL", "info"), ("", "ASSAY_SANDBOX", "on")):
        assert flag in told.stdout and variable in told.stdout and default in told.stdout, flag
    assert "--sandbox" not in told.stdout


WRONG = {
    "no command": [],
    "an unknown command": ["serve"],
    "an unknown flag": ["server", "--bogus", "1"],
    "an unknown flag with =": ["server", "--bogus=1"],
    "a word that is no flag": ["server", "images"],
    "a flag without its value": ["server", "--workers"],
    "an empty value": ["server", "--workers="],
    "no number": ["server", "--workers", "many"],
    "a negative number": ["server", "--workers", "-1"],
    "a number with a tail": ["server", "--workers", "2x"],
    "a number out of range": ["server", "--max-width", "99999999999999999999"],
    "no width at all": ["server", "--max-width", "0"],
    "no size": ["server", "--max-bytes", "big"],
    "an address without a port": ["server", "--listen", "127.0.0.1"],
    "a port out of range": ["server", "--listen", "127.0.0.1:65536"],
    "a port that is none": ["server", "--listen", "127.0.0.1:http"],
    "an unknown store": ["server", "--store", "mysql:x"],
    "an unknown network": ["server", "--webhook-allow", "friends"],
    "a network that is none": ["server", "--webhook-deny", "10.0.0.0/33"],
    "a level that is none": ["server", "--log-level", "loud"],
    "a format that is none": ["server", "--log-format", "xml"],
    "a time that is none": ["server", "--retain", "soon"],
    "one address for both": ["server", "--listen", "127.0.0.1:5001", "--monitor-listen", "127.0.0.1:5001"],
    "the sandbox as a flag": ["server", "--sandbox", "off"],
    "a flag of another command": ["health", "--workers", "2"],
    "help on no command": ["help", "serve"],
}


@pytest.mark.parametrize("args", WRONG.values(), ids=WRONG.keys())
def test_what_is_wrong_is_said_in_one_line(args, tmp_path):
    done = program.run(*args, cwd=tmp_path)
    assert done.returncode == 2, (done.returncode, done.stderr)
    assert len(done.stderr.splitlines()) == 1, done.stderr
    assert os.listdir(tmp_path) == [], "nothing was made before it was refused"


@pytest.mark.parametrize("variable, value", [
    ("ASSAY_BOGUS", "1"), ("ASSAY_", "1"), ("ASSAY_WORKER", "2"), ("ASSAY_WORKERS", "many"), ("ASSAY_WORKERS", ""),
    ("ASSAY_SANDBOX", "maybe"), ("ASSAY_LISTEN", "nowhere"), ("ASSAY_WEBHOOK_ALLOW", "friends"),
    ("ASSAY_MAX_BYTES", "1 TB")])
def test_variables_are_checked_as_flags_are(variable, value, tmp_path):
    done = program.run("server", env={variable: value}, cwd=tmp_path)
    assert done.returncode == 2, (done.returncode, done.stderr)
    assert len(done.stderr.splitlines()) == 1 and variable in done.stderr, done.stderr
    assert os.listdir(tmp_path) == []


def test_what_cannot_start_safely_is_78_and_says_why_in_one_line(servers, tmp_path):
    for server in (servers.new(root=tmp_path / "nothing-here"),
                   servers.new(store="sqlite:/proc/nothing/assay.db"), servers.new(store=f"sqlite:{tmp_path}")):
        server.start(ready=False)
        assert server.wait_exit(5) == 78, server.log()
        assert len(server.log().splitlines()) == 1, server.log()


def test_a_mistyped_store_is_no_new_store(servers):
    server = servers.new(store="sqlite:vra/lib/assay.db")
    server.start(ready=False)
    assert server.wait_exit(5) == 78, server.log()
    [line] = server.log().splitlines()
    assert "only its last folder is made, and another is missing" in line and "--store" in line
    assert os.listdir(server.folder) == ["stderr"]


def test_the_last_folder_of_a_store_is_made(servers, tmp_path):
    servers.start(store=f"sqlite:{tmp_path}/data/assay.db")
    assert (tmp_path / "data" / "assay.db").is_file()


def test_a_file_that_is_no_store_is_left_as_it_is(servers, tmp_path):
    file = tmp_path / "precious"
    file.write_bytes(b"not a database, but dear to someone\n" * 100)
    server = servers.new(store=f"sqlite:{file}")
    server.start(ready=False)
    assert server.wait_exit(5) == 78, server.log()
    assert file.read_bytes() == b"not a database, but dear to someone\n" * 100


def test_flags_win_over_the_environment(servers):
    assay = servers.start("--max-width", "1001", env={"ASSAY_MAX_WIDTH": "5", "ASSAY_MAX_HEIGHT": "999"})
    asset = assay.ended(assay.submit("too-wide.jpg"))
    assert asset["errors"] == {"asset": ["has a height greater than 999px"]}


# A quote, a new line, and what ends a line, reorders it or commands a terminal in other alphabets.
UNSEEN = 'missing "\n\r\\ \x1b[2J \x85 \x9b2J \u2028 \u202e.jpg'


def test_the_log_is_one_line_an_event_in_either_format(servers):
    assay = servers.start("--log-format", "json", "--log-level", "debug")
    assay.ended(assay.submit(UNSEEN))
    assay.stop()
    assert [json.loads(line)["path"] for line in assay.log().splitlines() if "unreachable" in line] == [UNSEEN]
    for line in assay.log().splitlines():
        assert json.loads(line)["event"], line
    assay = servers.start("--log-format", "logfmt", "--log-level", "debug")
    assay.ended(assay.submit(UNSEEN))
    assay.stop()
    for line in assay.log().splitlines():
        assert "level=" in line and "event=" in line, line
