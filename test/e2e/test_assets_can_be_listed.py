"""GET /assets: newest first, by state, page by page; and the new run of an asset that has ended."""
import pytest

from harness.client import problem


@pytest.fixture(scope="module")
def listed(module_servers):
    """A server and the ids of 12 assets in the order of their acceptance: every third one fails."""
    assay = module_servers.start()
    ids = [assay.submit("text.jpg" if i % 3 == 2 else "small.jpg") for i in range(12)]
    for asset_id in ids:
        assay.ended(asset_id)
    return assay, ids


def test_newest_first(listed):
    assay, ids = listed
    page = assay.get("/assets").json
    assert [asset["id"] for asset in page["assets"]] == ids[::-1]
    assert page["next"] is None
    assert {asset["state"] for asset in page["assets"]} == {"success", "failed"}


def test_by_state(listed):
    assay, ids = listed
    for state, right in (("failed", ids[2::3]), ("queued", []), ("started", []),
                         ("success", [i for n, i in enumerate(ids) if n % 3 != 2])):
        page = assay.get(f"/assets?state={state}").json
        assert [asset["id"] for asset in page["assets"]] == right[::-1]
        assert {asset["state"] for asset in page["assets"]} <= {state}


@pytest.mark.parametrize("limit", [1, 2, 5, 11, 12, 13, 1000])
def test_page_by_page_nothing_is_missed_or_repeated(listed, limit):
    assay, ids = listed
    found, after, pages = [], "", 0
    while after is not None:
        page = assay.get(f"/assets?limit={limit}" + (f"&after={after}" if after else "")).json
        assert len(page["assets"]) <= limit
        found += [asset["id"] for asset in page["assets"]]
        after, pages = page["next"], pages + 1
    assert found == ids[::-1] and pages <= -(-len(ids) // limit) + 1


def test_pages_of_one_state(listed):
    assay, ids = listed
    first = assay.get("/assets?state=failed&limit=3").json
    second = assay.get(f"/assets?limit=3&after={first['next']}&state=failed").json
    assert [asset["id"] for asset in first["assets"] + second["assets"]] == ids[2::3][::-1]
    assert second["next"] is None


# --- by what went wrong, where it lies, when it came

@pytest.fixture(scope="module")
def mixed(module_servers):
    """A server and 24 assets, [(id, path)] in the order of their acceptance, of four kinds in turn."""
    assay = module_servers.start()
    paths = ["small.jpg", "text.jpg", "too-wide.jpg", "too-wide-and-high.jpg"]
    assets = [(assay.submit(paths[i % 4]), paths[i % 4]) for i in range(24)]
    for asset_id, _ in assets:
        assay.ended(asset_id)
    return assay, assets


def paged(assay, query, limit):
    """The ids of all pages, which are full but for the last."""
    found, after = [], ""
    while True:
        page = assay.get(f"/assets?{query}&limit={limit}{after}").json
        found += [asset["id"] for asset in page["assets"]]
        if page["next"] is None:
            return found
        assert len(page["assets"]) == limit
        after = f"&after={page['next']}"


@pytest.mark.parametrize("limit", [1, 4, 1000])
@pytest.mark.parametrize("query, right", [
    ("code=too_wide", {"too-wide.jpg", "too-wide-and-high.jpg"}),
    ("code=too_high", {"too-wide-and-high.jpg"}),
    ("code=not_a_jpeg", {"text.jpg"}),
    ("code=truncated", set()),
    ("path=too-wide.jpg", {"too-wide.jpg"}),
    ("path=too-wide", set()),
    ("path=", set()),
    ("state=failed&code=too_wide&path=too%2Dwide.jpg", {"too-wide.jpg"}),
    ("state=success&path=small.jpg", {"small.jpg"}),
    ("state=failed&path=small.jpg", set()),
    ("state=success&code=too_wide", set()),
])
def test_by_state_code_and_path_page_by_page(mixed, query, right, limit):
    assay, assets = mixed
    assert paged(assay, query, limit) == [asset_id for asset_id, path in assets[::-1] if path in right]


def test_by_the_time_of_acceptance(mixed):
    assay, assets = mixed
    times = [assay.get(f"/assets/{asset_id}").json["acceptedAt"] for asset_id, _ in assets]
    middle = times[12]
    for query, right in ((f"since={middle}", [i for (i, _), t in zip(assets, times) if t >= middle]),
                         (f"until={middle}", [i for (i, _), t in zip(assets, times) if t < middle]),
                         (f"since={middle}&until={middle}", [])):
        assert paged(assay, query, 5) == right[::-1], query


def test_a_new_run_that_succeeds_is_no_longer_listed_by_its_old_code(servers):
    assay = servers.start()
    with open(f"{assay.root}/mended.jpg", "wb") as f:
        f.write(b"words")
    asset_id = assay.submit("mended.jpg")
    assay.ended(asset_id)
    assert paged(assay, "code=not_a_jpeg", 10) == [asset_id]
    with open(f"{assay.root}/small.jpg", "rb") as good, open(f"{assay.root}/mended.jpg", "wb") as f:
        f.write(good.read())
    assay.request("POST", f"/assets/{asset_id}/retry", b"", {"Content-Type": "application/json"})
    assert assay.get(f"/assets/{asset_id}?wait=30s").json["state"] == "success"
    assert paged(assay, "code=not_a_jpeg", 10) == [] and paged(assay, "path=mended.jpg", 10) == [asset_id]


@pytest.mark.parametrize("query", ["code=bogus", "code=", "code=TOO_WIDE", "since=yesterday", "until=", "path=%00"])
def test_filters_that_are_no_good_are_refused(mixed, query):
    problem(mixed[0].get(f"/assets?{query}"), 400)


def test_what_comes_meanwhile_does_not_shift_the_pages(servers):
    assay = servers.start("--workers", "0")
    ids = [assay.submit("small.jpg") for _ in range(4)]
    first = assay.get("/assets?limit=2").json
    assay.submit("small.jpg")
    second = assay.get(f"/assets?limit=2&after={first['next']}").json
    assert [asset["id"] for asset in first["assets"] + second["assets"]] == ids[::-1]


@pytest.mark.parametrize("query", [
    "state=bogus", "state=", "state=Failed", "limit=0", "limit=-1", "limit=1001", "limit=many", "limit=",
    "limit=99999999999999999999", "limit=1e2", "after=%00", "after=!", "after=" + "9" * 100, "sort=id"])
def test_parameters_that_are_no_good_are_refused(listed, query):
    problem(listed[0].get(f"/assets?{query}"), 400, 422)


# --- POST /assets/{id}/retry

def test_a_retry_is_a_new_run_with_webhooks_of_its_own(assay, sink, images):
    path = images / "comes-later.jpg"
    url = sink.url()
    asset_id = assay.submit("comes-later.jpg", onStart=url, onSuccess=url, onFailure=url)
    sink.ending(asset_id)
    path.write_bytes((images / "small.jpg").read_bytes())
    answer = assay.request("POST", f"/assets/{asset_id}/retry", b"", {"Content-Type": "application/json"})
    assert answer.status == 202 and answer.json == {"id": asset_id, "state": "queued"}
    arrivals = sink.wait(asset_id, 4)
    assert [a.state for a in arrivals] == ["started", "failed", "started", "success"]
    assert len({a.webhook_id for a in arrivals}) == 4
    asset = assay.settled(asset_id)
    assert asset["state"] == "success" and not asset.get("errors")


def test_only_an_asset_that_has_ended_can_be_retried(servers):
    assay = servers.start("--workers", "0")
    asset_id = assay.submit("small.jpg")
    problem(assay.post(b"", path=f"/assets/{asset_id}/retry"), 409)
    problem(assay.post(b"", path="/assets/0000000/retry"), 404)
    problem(assay.get(f"/assets/{asset_id}/retry"), 405)
