"""The rules: what is wrong with a file, whatever else is wrong with it."""
import json
import os

import pytest

from harness import pictures

WIDE, HIGH = "has a width greater than 1000px", "has a height greater than 1000px"
NO_IMAGE, NO_JPEG = "is not an image", "is not a jpeg"
NOT_REACHABLE = ["is not reachable"]


def errors_of(assay, path, **notifications):
    asset = assay.ended(assay.submit(path, **notifications))
    errors = asset.get("errors") or {}
    assert asset["state"] == ("failed" if errors else "success")
    assert sorted(f["message"] for f in asset["findings"] if f["severity"] == "error") == \
        sorted(sentence for sentences in errors.values() for sentence in sentences)
    return errors


def asset_errors(assay, path):
    errors = errors_of(assay, path)
    assert set(errors) <= {"asset"}
    return errors.get("asset", [])


@pytest.mark.parametrize("path", [
    "good.jpg", "./good.jpg", "deep/../good.jpg", "deep//down/./good.jpg", "small.jpg", "no-extension",
    "link-inside.jpg", "sp ace & ümlaut #%20.jpg"])
def test_a_good_jpeg_is_a_success(assay, path):
    assert asset_errors(assay, path) == []


def test_an_absolute_path_below_the_root_is_reachable(assay, images):
    assert asset_errors(assay, f"{images}/good.jpg") == []


@pytest.mark.parametrize("path, sentences", [
    ("too-wide.jpg", [WIDE]),
    ("too-high.jpg", [HIGH]),
    ("too-wide-and-high.jpg", [WIDE, HIGH]),
    ("png-in-disguise.jpg", [NO_JPEG]),
    ("large.png", [NO_JPEG, WIDE, HIGH]),
    ("large.gif", [NO_JPEG, WIDE, HIGH]),
    ("large.bmp", [NO_JPEG, WIDE, HIGH]),
    ("large.webp", [NO_JPEG, WIDE, HIGH]),
    ("text.jpg", [NO_IMAGE, NO_JPEG]),
    ("one-byte.jpg", [NO_IMAGE, NO_JPEG]),
    ("empty.jpg", ["is empty"]),
    ("cut-in-header.jpg", ["is truncated"]),
    ("cut-in-scan.jpg", ["is truncated"]),
    ("large-and-cut.jpg", ["is truncated", WIDE, HIGH]),
    ("corrupt.jpg", ["is corrupt"]),
    ("large-and-corrupt.jpg", ["is corrupt", WIDE, HIGH]),
    ("arithmetic.jpg", ["is not a supported jpeg"]),
    ("lossless.jpg", ["is not a supported jpeg"]),
    ("twelve-bit.jpg", ["is not a supported jpeg"]),
    ("huge.jpg", ["is larger than 32 MiB", WIDE, HIGH]),
])
def test_every_fault_of_a_file_is_told(assay, path, sentences):
    told = asset_errors(assay, path)
    assert sorted(told) == sorted(sentences)


@pytest.mark.parametrize("path", [
    "missing.jpg", "", ".", "..", "/", "a-directory.jpg", "good.jpg/", "good.jpg/x", "a-fifo.jpg",
    "../outside.jpg", "deep/../../outside.jpg", "link-out.jpg", "link-out-absolute.jpg", "link-up/outside.jpg",
    "link-loop.jpg", "link-dangling.jpg", "link-proc.jpg", "link-null.jpg", "/etc/passwd", "/dev/zero",
    "/proc/self/environ", "x" * 300, "x/" * 3000, "file:good.jpg", "good.jpg ", "a\nb\u202e\u001b[31m"])
def test_what_is_no_file_below_the_root_is_not_reachable(assay, path):
    assert asset_errors(assay, path) == NOT_REACHABLE


def test_neither_is_the_file_beside_the_root_by_its_absolute_path(assay, images):
    assert asset_errors(assay, str(images.parent / "outside.jpg")) == NOT_REACHABLE
    assert asset_errors(assay, f"{images}/../outside.jpg") == NOT_REACHABLE
    assert asset_errors(assay, f"{images}-beside/good.jpg") == NOT_REACHABLE


def test_a_path_cannot_write_lines_into_the_log(assay):
    asset_errors(assay, "nothing\ntime=0 level=error event=forged\u001b[2J")
    assert not [line for line in assay.log().splitlines() if line.startswith("time=0")]
    assert "\x1b" not in assay.log()


def test_limits_that_were_configured_show_their_own_numbers(servers, images):
    (images / "100-and-one.jpg").write_bytes(pictures.jpeg(101, 51))
    assay = servers.start("--max-width", "100", "--max-height", "50", "--max-bytes", "1024")
    assert asset_errors(assay, "100-and-one.jpg") == \
        ["has a width greater than 100px", "has a height greater than 50px"]
    assert asset_errors(assay, "small.jpg") == []
    told = asset_errors(assay, "no-extension")
    assert "has a width greater than 100px" in told and "has a height greater than 50px" in told
    [larger] = [sentence for sentence in told if sentence.startswith("is larger than 1")]
    assert "MiB" not in larger and len(told) == 3


def test_every_format_of_the_corpus_is_known_by_its_signature(servers, shared):
    if not shared:
        pytest.skip("there is no corpus beside the project")
    folder = os.path.join(shared, "corpus")
    with open(os.path.join(folder, "manifest.jsonl"), encoding="utf-8") as f:
        rows = [json.loads(line) for line in f]
    right = {
        "image but not jpeg": lambda told: NO_JPEG in told and NO_IMAGE not in told,
        "not an image": lambda told: {NO_IMAGE, NO_JPEG} <= set(told),
        "unsupported jpeg flavour": lambda told: "is not a supported jpeg" in told,
        "empty": lambda told: told == ["is empty"],
    }
    rows = [row for row in rows if row["certain"] and row["verdict"] in right]
    assert len(rows) > 100
    assay = servers.start(root=os.path.join(folder, "files"))
    ids = {assay.submit(row["file"]): row for row in rows}
    wrong = []
    for asset_id, row in ids.items():
        errors = (assay.ended(asset_id, within=20).get("errors") or {}).get("asset", [])
        if not right[row["verdict"]](errors):
            wrong.append((row["file"], row["verdict"], row["reasons"], errors))
    assert not wrong, f"{len(wrong)} of {len(rows)}: {wrong[:10]}"
