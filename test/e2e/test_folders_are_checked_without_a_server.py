"""assay check: the same verdicts on the command line, in the order given, whatever lies in the folder."""
import json
import os
import pty
import subprocess

import pytest

from harness import assay as program
from harness import pictures
from harness.deadline import patient


@pytest.fixture
def folder(tmp_path):
    """Good and bad files, two folders deep; names sort as the comments number them."""
    def put(name, data):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(data)
    put("a.jpg", pictures.jpeg(10, 10))                 # 1
    put("b/c.jpg", pictures.jpeg(1001, 1001))           # 2
    put("b/d.png", pictures.png(64, 64))                # 3
    put("empty.jpg", b"")                               # 4
    put("text.jpg", b"some text, no picture at all\n")  # 5
    return tmp_path


def check(*args, stdin="", cwd=None):  # names need not be UTF-8
    done = subprocess.run([program.BINARY, "check", *map(str, args)], input=stdin, cwd=cwd, errors="replace",
                          capture_output=True, env=program.environment(), timeout=patient(30), check=False)
    return done.returncode, done.stdout, done.stderr


def lines(stdout):
    return [json.loads(line) for line in stdout.splitlines()]


def test_json_lines_are_those_of_the_contract(folder):
    code, out, err = check("--json", "b/d.png", cwd=folder)
    assert (code, err) == (1, "")
    assert out == ('{"path":"b/d.png","valid":false,"errors":["is not a jpeg"],'
                   '"format":"png","width":64,"height":64}\n')


def test_a_folder_is_walked_by_name_and_all_errors_are_told(folder):
    code, out, err = check("--json", folder)
    assert (code, err) == (1, "")
    assert [os.path.relpath(line["path"], folder) for line in lines(out)] == [
        "a.jpg", "b/c.jpg", "b/d.png", "empty.jpg", "text.jpg"]
    assert [line["errors"] for line in lines(out)] == [
        [], ["has a width greater than 1000px", "has a height greater than 1000px"], ["is not a jpeg"],
        ["is empty"], ["is not an image", "is not a jpeg"]]
    assert lines(out)[4] | {"path": ""} == {
        "path": "", "valid": False, "errors": ["is not an image", "is not a jpeg"],
        "format": None, "width": None, "height": None}


def test_people_get_a_line_for_each_bad_file_and_a_summary(folder):
    code, out, _ = check(".", cwd=folder)
    assert code == 1
    assert "./b/c.jpg: has a width greater than 1000px (1001); has a height greater than 1000px (1001)\n" in out
    assert "./a.jpg" not in out
    assert "5 checked" in out and "1 good, 4 bad" in out and "2  not_a_jpeg" in out


def test_it_exits_with_0_only_if_all_are_valid(folder):
    assert check(folder / "a.jpg")[0] == 0
    assert check(folder / "a.jpg", folder / "b")[0] == 1
    assert check("--max-width", 2000, "--max-height", 2000, folder / "b/c.jpg")[0] == 0
    assert check("--max-bytes", 10, folder / "a.jpg")[0] == 1
    assert check()[0] == 2
    assert check("--no-such-flag", folder)[0] == 2
    assert check("--workers", 0, folder)[0] == 2


def test_quiet_prints_nothing(folder):
    assert check("--quiet", folder) == (1, "", "")


def test_what_cannot_be_read_does_not_stop_it(folder):
    os.mkfifo(folder / "a-pipe")
    os.symlink("nowhere", folder / "dangling")
    os.symlink(".", folder / "loop")
    code, out, _ = check("--json", folder, folder / "missing", folder / "a.jpg")
    verdicts = {os.path.relpath(line["path"], folder): line["errors"] for line in lines(out)}
    assert code == 1
    for name in ("a-pipe", "dangling", "loop", "missing"):
        assert verdicts[name] == ["is not reachable"], name
    assert verdicts["a.jpg"] == []


def test_names_come_from_stdin_too(folder):
    code, out, _ = check("--json", "-", stdin="b/d.png\n\na.jpg\n", cwd=folder)
    assert code == 1 and [line["path"] for line in lines(out)] == ["b/d.png", "a.jpg"]


def test_fail_fast_stops_at_the_first_bad_one_in_order(folder):
    code, out, _ = check("--json", "--fail-fast", folder)
    assert code == 1 and len(lines(out)) == 2 and not lines(out)[1]["valid"]


def test_the_order_given_is_kept_over_many_files(folder):
    names = [("a.jpg", "b/d.png", "empty.jpg")[n * n % 3] for n in range(3000)]
    _, out, _ = check("--json", "--workers", 4, "-", stdin="\n".join(names), cwd=folder)
    assert [line["path"] for line in lines(out)] == names


def test_a_manifest_comes_back_with_a_verdict_on_each_line(folder):
    manifest = folder / "in.jsonl"
    manifest.write_text('{"path":"a.jpg","customer":7}\n'
                        'this is no JSON\n'
                        '\n'
                        '{"assetPath":{"location":"local","path":"b/d.png"}}\n')
    code, out, err = check("--manifest", manifest, cwd=folder)
    assert (code, err) == (1, "")
    assert lines(out) == [
        {"path": "a.jpg", "customer": 7, "valid": True, "errors": [], "format": "jpeg", "width": 10, "height": 10},
        {"line": 2, "valid": False, "errors": ["is not a JSON object with a path"]},
        {"assetPath": {"location": "local", "path": "b/d.png"}, "valid": False, "errors": ["is not a jpeg"],
         "format": "png", "width": 64, "height": 64}]
    assert check("--manifest", folder / "missing.jsonl")[0] == 2


def test_hostile_names_do_not_steer_the_terminal_or_break_json(folder):
    name = b"\x1b[2J\n\xff.jpg"
    with open(os.path.join(os.fsencode(folder), name), "wb") as f:
        f.write(b"x")
    _, out, _ = check(folder)
    assert "\x1b" not in out and "\\x1b[2J\\x0a" in out.replace("\ufffd", "")
    _, out, _ = check("--json", folder)
    assert len(lines(out)) == 6


def test_a_terminal_sees_a_bar_that_goes_away(folder):
    names = "\n".join(["a.jpg"] * 5000)
    ours, theirs = pty.openpty()
    done = subprocess.run([program.BINARY, "check", "-"], input=names.encode(), cwd=folder, stderr=theirs,
                          stdout=subprocess.PIPE, env=program.environment(), timeout=patient(60), check=False)
    os.close(theirs)
    seen = b""
    while True:
        try:
            piece = os.read(ours, 65536)
        except OSError:
            break
        if not piece:
            break
        seen += piece
    os.close(ours)
    assert done.returncode == 0 and b"5000 checked" in done.stdout
    assert b"/s" in seen and seen.endswith(b"\r\x1b[K")
