"""The monitor without a browser: its JSON, its actions and who may do them, previews, events, read only."""
import http.client
import os
import re
import shutil
import time
import urllib.parse

import pytest

from harness import disk, pictures, redis
from harness.assay import free_port, run
from harness.client import request
from harness.deadline import eventually, patient
from harness.sink import Answer

POLICY = ("default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
          "form-action 'self'; frame-ancestors 'none'; base-uri 'none'")
PAGES = ("/", "/?span=24h", "/?span=30d", "/assets", "/assets?state=failed", "/failed", "/workers", "/queue",
         "/webhooks", "/webhooks?state=dead", "/nothing", "/assets/unknown0")
FORM = {"Content-Type": "application/x-www-form-urlencoded"}


def ask(assay, path, method="GET", body=None, headers=None):
    return request(assay.monitor_port, method, path, body, headers)


def token_of(page):
    return re.search(r'name="token" value="([0-9a-f]{64})"', page.body.decode()).group(1)


def confirm(assay, path, headers=None, **fields):
    """Ask for the page that asks, and say yes."""
    page = ask(assay, path)
    assert page.status == 200, page
    body = urllib.parse.urlencode({"token": token_of(page), **fields})
    return ask(assay, path, "POST", body, {**FORM, **(headers or {})})


@pytest.fixture
def dead(assay, sink):
    """An asset whose terminal webhook was given up, and the URL that refuses; later it answers 200."""
    url = sink.url(500, 500, 500, 500, 200)
    asset_id = assay.submit("too-wide.jpg", onFailure=url)
    assay.settled(asset_id)
    assert assay.asset(asset_id)["notifications"]["onFailure"]["state"] == "dead"
    return asset_id, url


@pytest.mark.parametrize("path", PAGES)
def test_every_page_has_the_strict_policy(assay, path):
    answer = ask(assay, path)
    assert answer.status == (404 if "n" in path[-8:] and path in ("/nothing", "/assets/unknown0") else 200)
    assert answer.headers["content-security-policy"] == POLICY
    assert answer.headers["x-content-type-options"] == "nosniff"
    text = answer.body.decode()
    assert not re.search(r"<script>|<style|\sstyle=|\son[a-z]+=|javascript:", text)
    assert re.search(r'<html lang="en">', text) and re.search(r"<title>[^<]+</title>", text)


def test_the_first_page_is_small(assay):
    page = ask(assay, "/")
    total = len(page.body)
    for link in re.findall(r'(?:href|src)="([^"]+\.(?:css|js|svg)[^"]*)"', page.body.decode()):
        if "chart.js" not in link:
            total += len(ask(assay, link).body)
    assert total < 100 * 1024


def test_the_story_of_an_asset_is_told(assay, dead):
    asset_id, url = dead
    page = ask(assay, f"/assets/{asset_id}").body.decode()
    for told in ("too_wide", "1001", "1000", "Scale the image down", url, "dead", "500"):
        assert told in page, told


def test_damage_is_drawn_on_a_bar_of_the_file(assay):
    asset_id = assay.submit("corrupt.jpg")
    assay.ended(asset_id)
    page = ask(assay, f"/assets/{asset_id}").body.decode()
    assert re.search(r'aria-label="Damage at byte \d+ of \d+"', page)


@pytest.mark.parametrize("name", ["<img src=x onerror=alert(1)>.jpg", "\u202egpj.exe", "a\"'&b.jpg"])
def test_hostile_names_and_urls_are_text(assay, name):
    asset_id = assay.submit(name, onSuccess="javascript:alert(1)//<b>")
    assay.ended(asset_id)
    for path in ("/assets", f"/assets/{asset_id}", "/failed"):
        page = ask(assay, path).body.decode()
        assert "<img src=x" not in page and "<b>" not in page and "\u202e" not in page
        assert 'href="javascript' not in page


@pytest.mark.parametrize("query, found", [
    ("state=failed&code=too_high", True), ("state=failed&code=truncated", False), ("state=success", False),
    ("q=too-high.jpg", True), ("q=too-high", False), ("since=2020-01-01T00:00", True),
    ("until=2020-01-01T00:00", False), ("since=2020-01-01T00:00&until=2090-01-01T00:00&state=failed", True)])
def test_assets_are_found(assay, query, found):
    asset_id = assay.submit("too-high.jpg")
    assay.ended(asset_id)
    answer = ask(assay, "/assets?" + query)
    assert answer.status == 200 and (asset_id in answer.body.decode()) == found


def test_an_id_leads_to_its_asset(assay):
    asset_id = assay.submit("small.jpg")
    answer = ask(assay, f"/assets?q={asset_id}")
    assert answer.status == 303 and answer.headers["location"] == f"/assets/{asset_id}"


@pytest.mark.parametrize("query", ["state=lost", "code=none", "since=today", "after=zzz", "q=%00"])
def test_a_search_that_makes_no_sense_says_so(assay, query):
    assert ask(assay, "/assets?" + query).status == 400


# --- previews

def test_a_preview_is_the_file_itself(assay):
    asset_id = assay.submit("good.jpg")
    assay.ended(asset_id)
    answer = ask(assay, f"/assets/{asset_id}/preview")
    assert answer.status == 200 and answer.body == pictures.jpeg(1000, 1000)
    assert answer.headers["content-type"] == "image/jpeg"
    assert answer.headers["content-security-policy"] == "default-src 'none'; sandbox"
    assert answer.headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize("path", ["too-wide.jpg", "text.jpg", "png-in-disguise.jpg", "nothing.jpg"])
def test_what_did_not_pass_has_no_preview(assay, path):
    asset_id = assay.submit(path)
    assay.ended(asset_id)
    assert ask(assay, f"/assets/{asset_id}/preview").status == 404
    assert "preview" not in ask(assay, f"/assets/{asset_id}").body.decode()


@pytest.mark.parametrize("later", [b"<script>alert(1)</script>", pictures.jpeg(64, 56), None])
def test_a_file_that_has_changed_has_no_preview(servers, images, tmp_path, later):
    root = tmp_path / "root"
    root.mkdir()
    shutil.copy(os.path.join(images, "small.jpg"), root / "a.jpg")
    assay = servers.start(root=root)
    asset_id = assay.submit("a.jpg")
    assay.ended(asset_id)
    assert ask(assay, f"/assets/{asset_id}/preview").status == 200
    if later is None:
        data = bytearray((root / "a.jpg").read_bytes())    # of the same size
        data[30] ^= 1
        later = bytes(data)
    (root / "a.jpg").write_bytes(later)
    assert ask(assay, f"/assets/{asset_id}/preview").status == 404


# --- actions

def test_an_asset_is_validated_again(assay, sink):
    asset_id = assay.submit("too-wide.jpg", **sink.all())
    assay.settled(asset_id)
    answer = confirm(assay, f"/assets/{asset_id}/retry")
    assert answer.status == 303 and answer.headers["location"] == f"/assets/{asset_id}"
    eventually(lambda: assay.settled(asset_id)["run"] == 2, 5, "the second run ends")
    assert re.search(f"event=monitor_action action=retry target={asset_id}", assay.log())


def test_a_dead_letter_is_sent_again(assay, sink, dead):
    asset_id, url = dead
    page = ask(assay, f"/assets/{asset_id}").body.decode()
    [path] = re.findall(r'href="(/webhooks/[^"]+_failed/resend)"', page)
    answer = confirm(assay, path)
    assert answer.status == 303, answer
    sink.wait_at(url, 5)
    eventually(lambda: assay.asset(asset_id)["notifications"]["onFailure"]["state"] == "delivered", 5,
               "it is delivered")
    assert "event=monitor_action action=resend" in assay.log()


def test_all_dead_letters_are_sent_again(servers, sink):
    assay = servers.start("--webhook-schedule", "1ms")
    urls = [sink.url(500, 500, 200) for _ in range(3)]
    for url in urls:
        assay.settled(assay.submit("text.jpg", onFailure=url))
    answer = confirm(assay, "/resend-dead")
    assert answer.status == 200 and "<strong>3</strong>" in answer.body.decode(), answer
    for url in urls:
        sink.wait_at(url, 3)


def test_all_that_match_are_retried_and_no_others(servers):
    assay = servers.start()
    wide = [assay.submit("too-wide.jpg") for _ in range(130)]
    other = assay.submit("text.jpg")
    for asset_id in wide + [other]:
        assay.ended(asset_id)
    answer = confirm(assay, "/retry?code=too_wide&state=failed")
    assert answer.status == 200 and "<strong>130</strong>" in answer.body.decode(), answer
    for asset_id in wide:
        eventually(lambda asset_id=asset_id: assay.ended(asset_id)["run"] == 2, 10, "the second run")
    assert assay.asset(other)["run"] == 1


def test_what_has_not_ended_is_not_retried(servers):
    assay = servers.start("--workers", "0")
    asset_id = assay.submit("small.jpg")
    assert confirm(assay, f"/assets/{asset_id}/retry").status == 409


@pytest.mark.parametrize("headers, body", [
    ({}, "token={token}"),                                                   # no form
    (FORM, ""), (FORM, "token="), (FORM, "token=" + "0" * 64), (FORM, "token={other}"),
    ({**FORM, "Sec-Fetch-Site": "cross-site"}, "token={token}"),
    ({**FORM, "Sec-Fetch-Site": "same-site"}, "token={token}"),
    ({**FORM, "Origin": "http://evil.example"}, "token={token}"),
    ({**FORM, "Origin": "null"}, "token={token}")])
def test_a_forged_form_does_nothing(assay, headers, body):
    asset_id = assay.submit("text.jpg")
    assay.ended(asset_id)
    path = f"/assets/{asset_id}/retry"
    body = body.format(token=token_of(ask(assay, path)), other=token_of(ask(assay, "/resend-dead")))
    assert ask(assay, path, "POST", body, headers).status == 403
    assert assay.asset(asset_id)["run"] == 1


@pytest.mark.parametrize("path", ["/", "/assets", "/live", "/api/tasks", "/style.css"])
def test_what_only_shows_takes_no_post(assay, path):
    answer = ask(assay, path, "POST", "", FORM)
    assert answer.status == 405 and answer.headers["allow"] == "GET, HEAD"


def test_a_page_of_another_site_that_was_rebound_gets_nothing(assay):
    assert ask(assay, "/", headers={"Host": "evil.example"}).status == 421


# --- workers

def the_worker(assay):
    [(name, worker)] = ask(assay, "/api/workers").json.items()
    assert name == f"{worker['host']}:{worker['pid']}"
    return worker


def test_a_worker_is_drained_and_resumed(servers):
    assay = servers.start("--workers", "2")
    assert the_worker(assay)["state"] == "online"
    answer = confirm(assay, "/workers/0/drain")
    assert answer.status == 303 and answer.headers["location"] == "/workers"
    worker = the_worker(assay)
    assert worker["state"] == "drained" and worker["active"] == 0 and worker["concurrency"] == 2
    page = ask(assay, "/workers").body.decode()
    assert "drained" in page and "/workers/0/resume" in page and "/workers/0/drain" not in page
    assert 'assay_workers{state="resting"} 2' in assay.get("/metrics").body.decode()
    asset_id = assay.submit("small.jpg")
    assert assay.asset(asset_id)["state"] == "queued"
    assert confirm(assay, "/workers/0/resume").status == 303
    assert assay.ended(asset_id)["state"] == "success"
    assert the_worker(assay)["active"] == 2
    for action in ("drain", "resume"):
        assert f"event=monitor_action action={action} target=" in assay.log()


def test_a_worker_is_resized(servers):
    assay = servers.start("--workers", "3")
    assert confirm(assay, "/workers/0/resize", active=1).status == 303
    assert the_worker(assay)["active"] == 1
    assert 'assay_workers{state="idle"} 1' in assay.get("/metrics").body.decode()
    for active in ("", "-1", "4", "x", "1x", "99999999999"):
        assert confirm(assay, "/workers/0/resize", active=active).status == 400, active
    assert the_worker(assay)["active"] == 1
    assay.ended(assay.submit("small.jpg"))


@pytest.mark.parametrize("path", ["/workers/0/drain", "/workers/0/resume", "/workers/0/resize"])
def test_what_a_worker_does_is_not_changed_by_a_forged_form(assay, path):
    token = token_of(ask(assay, path))
    for headers, body in ((FORM, "active=0"), (FORM, "token=" + "0" * 64 + "&active=0"),
                          ({**FORM, "Sec-Fetch-Site": "cross-site"}, f"token={token}&active=0")):
        assert ask(assay, path, "POST", body, headers).status == 403
    assert the_worker(assay)["active"] == 2


def test_a_worker_that_is_not_there_says_so(assay):
    for path in ("/workers/7/drain", "/workers/x/resume", "/workers/00/resize"):
        assert ask(assay, path).status == 404


def test_pools_grow_and_shrink_as_with_flower(servers):
    assay = servers.start("--workers", "4")
    name = next(iter(ask(assay, "/api/workers").json))
    quoted = urllib.parse.quote(name, safe="")

    def post(path, headers=None):
        return ask(assay, "/api/worker/pool/" + path, "POST", None, headers)

    for path, active in ((f"shrink/{name}", 3), (f"shrink/{quoted}?n=2", 1), (f"grow/{name}?n=1", 2),
                         (f"shrink/{name}?n=9", 0), (f"grow/{name}?n=1024", 4)):
        answer = post(path)
        assert answer.status == 200 and answer.json["wanted"] == active, answer
        assert the_worker(assay)["active"] == active
    assert post("grow/nobody:1").status == post("grow/%00").status == 404
    assert post(f"grow/{name}?n=x").status == post(f"grow/{name}?n=-1").status == 400
    for headers in ({"Sec-Fetch-Site": "cross-site"}, {"Origin": "http://evil.example"}):
        assert post(f"shrink/{name}", headers).status == 403
    answer = ask(assay, f"/api/worker/pool/grow/{name}")
    assert answer.status == 405 and answer.headers["allow"] == "POST"
    assert the_worker(assay)["active"] == 4
    assert f"event=monitor_action action=shrink target={name}" in assay.log()


def test_an_origin_that_is_held_back_from_is_told(servers, sink):
    assay = servers.start("--webhook-schedule", "1h")
    url = sink.url(*[500] * 20)
    for _ in range(10):
        assay.submit("text.jpg", onFailure=url)
    [origin] = eventually(lambda: ask(assay, "/api/webhooks").json["origins"], 10, "the breaker opens")
    assert url.startswith(origin["origin"]) and origin["breaker"] == "open"
    assert origin["attempts"] >= 10 and origin["failed"] >= 10 and origin["trips"] == 1
    assert origin["nextAttemptMs"] / 1000 > time.time() and origin["process"] in ask(assay, "/api/workers").json
    page = ask(assay, "/webhooks").body.decode()
    assert re.search(rf'{re.escape(origin["origin"])}.*class="state open"', page)
    assert "every breaker is closed" not in page


def test_of_many_origins_the_worst_are_told(servers):
    assay = servers.start("--webhook-schedule", "1h")
    origins = [f"http://127.0.0.1:{free_port()}" for _ in range(18)]    # nobody listens there
    for i, origin in enumerate(origins):
        for _ in range(10 if i < 17 else 14):
            assay.submit("text.jpg", onStart=origin, onFailure=origin)
    eventually(lambda: "and 2 more" in ask(assay, "/webhooks").body.decode(), 20, "all breakers are open")
    told = ask(assay, "/api/webhooks").json["origins"]
    assert len({origin["origin"] for origin in told}) == 16 and {o["origin"] for o in told} < set(origins)
    assert [o["failed"] for o in told] == sorted((o["failed"] for o in told), reverse=True)


def test_read_only_has_no_actions(servers):
    assay = servers.start("--monitor-read-only")
    asset_id = assay.submit("text.jpg")
    assay.ended(asset_id)
    for path in ("/assets?state=failed", f"/assets/{asset_id}", "/webhooks?state=dead", "/workers"):
        page = ask(assay, path).body.decode()
        assert "read only" in page and "/retry" not in page and "resend" not in page and "/workers/" not in page
    for path in (f"/assets/{asset_id}/retry", "/retry", "/resend-dead", "/workers/0/drain", "/workers/0/resume",
                 "/workers/0/resize"):
        assert ask(assay, path).status == 403
        assert ask(assay, path, "POST", "token=" + "0" * 64, FORM).status == 403
    name = next(iter(ask(assay, "/api/workers").json))
    assert ask(assay, f"/api/worker/pool/shrink/{name}", "POST").status == 403
    assert ask(assay, "/api/workers").json[name]["active"] > 0


def test_a_prefix_stands_before_every_path(servers):
    assay = servers.start("--monitor-prefix", "/assay")
    asset_id = assay.submit("text.jpg")
    assay.ended(asset_id)
    assert ask(assay, "/").status == 404 and ask(assay, "/assayer").status == 404
    assert ask(assay, "/healthcheck").status == ask(assay, "/healthz").status == 200
    page = ask(assay, "/assay/")
    assert page.status == 200
    links = re.findall(r'(?:href|src|action)="([^"#]+)"', page.body.decode())
    assert links and all(link.startswith("/assay/") for link in links)
    for link in links:
        assert ask(assay, link.replace("&amp;", "&")).status in (200, 404 if "chart.js" in link else 200)
    assert confirm(assay, f"/assay/assets/{asset_id}/retry").headers["location"] == f"/assay/assets/{asset_id}"


def test_a_key_is_asked_for(servers):
    assay = servers.start(env={"ASSAY_API_KEY": "a-long-secret-key-1"})
    for path in ("/", "/live", "/api/tasks", "/metrics", "/style.css", "/workers/0/drain"):
        answer = ask(assay, path)
        assert answer.status == 401 and "www-authenticate" in answer.headers, path
    assert ask(assay, "/healthcheck").status == 200
    assert ask(assay, "/", headers={"Authorization": "Bearer a-long-secret-key-1"}).status == 200


# --- JSON

def test_the_json_has_flowers_routes(assay, dead):
    asset_id, url = dead
    workers = ask(assay, "/api/workers").json
    [worker] = workers.values()
    assert worker["status"] is True and worker["concurrency"] == 2 and worker["processed"] >= 1
    tasks = ask(assay, "/api/tasks?limit=1000&state=failed").json
    assert tasks[asset_id]["state"] == "FAILURE" and tasks[asset_id]["uuid"] == asset_id
    info = ask(assay, f"/api/task/info/{asset_id}").json
    assert info["args"] == "too-wide.jpg" and info["result"]["asset"]
    [event] = info["webhooks"]
    assert event["url"] == url and [a["status"] for a in event["log"]] == [500] * 4
    assert info["report"]["findings"][0]["code"] == "too_wide"
    queues = {q["name"]: q["messages"] for q in ask(assay, "/api/queues/length").json["active_queues"]}
    assert set(queues) == {"assets", "webhooks"}
    assert ask(assay, "/api/task/info/unknown0").status == 404
    assert ask(assay, "/api/tasks?limit=0").status == ask(assay, "/api/tasks?state=x").status == 400
    assert [e["asset"] for e in ask(assay, "/api/webhooks?state=dead").json["events"]].count(asset_id) == 1
    assert "assay_assets" in ask(assay, "/metrics").body.decode()
    assert ask(assay, "/tasks").status == ask(assay, "/broker").status == 303


@pytest.mark.parametrize("span", ["15m", "24h", "30d"])
def test_the_history_outlives_a_restart(servers, span):
    assay = servers.start()
    first = eventually(lambda: len((told := ask(assay, "/api/history?span=" + span).json)["atMs"]) > 1 and told,
                       5, "there is a sample")
    for _ in range(3):
        assay.ended(assay.submit("text.jpg"))
    assay.stop()
    assay.start()
    again = ask(assay, "/api/history?span=" + span).json
    assert again["atMs"][0] == first["atMs"][0]    # that of before the restart
    assert again["errors"]["not_an_image"] == 3
    assert len(again["queued"]) == len(again["atMs"])


def test_a_span_that_is_none_says_so(assay):
    assert ask(assay, "/api/history?span=1y").status == 400


# --- live

def events(connection):
    """The events of a stream, one by one, as (name, data)."""
    name = None
    while True:
        line = connection.readline()
        if not line:
            return
        key, _, value = line.decode().rstrip("\n").partition(": ")
        if key == "event":
            name = value
        elif key == "data":
            yield name, value


def live(assay):
    connection = http.client.HTTPConnection("127.0.0.1", assay.monitor_port, timeout=patient(10))
    connection.request("GET", "/live")
    answer = connection.getresponse()
    assert answer.status == 200 and answer.getheader("content-type") == "text/event-stream"
    return answer


def test_who_follows_is_told_of_changes(assay):
    stream = live(assay)
    told = events(stream)
    name, first = next(told)
    assert name == "figures"
    assay.ended(assay.submit("small.jpg"))
    eventually(lambda: next(told)[1] != first, 5, "the figures change")
    stream.close()


def test_a_stream_ends_with_the_drain(servers):
    assay = servers.start()
    stream = live(assay)
    assert next(events(stream))
    assay.stop()
    assert list(events(stream)) is not None    # it has an end
    stream.close()


def test_a_stream_of_nothing_new_says_little(assay):
    """At most one event a second, however many assets there are."""
    stream = live(assay)
    began = time.monotonic()
    told = events(stream)
    next(told)
    for _ in range(50):
        assay.submit("small.jpg")
    seen = 1
    while seen < 3:
        assay.submit("small.jpg")
        next(told)
        seen += 1
    assert time.monotonic() - began > 1
    stream.close()


def test_a_store_that_cannot_be_written_is_told(servers, small_disk):
    assay = servers.start("--workers", "0", store=f"sqlite:{small_disk}/store/assay.db")
    disk.fill(small_disk, leave=200_000)
    body = {"assetPath": {"location": "local", "path": "small.jpg" + "/." * 1500}}
    eventually(lambda: assay.post(body).status == 503, 20, "the disk is full")
    for path in ("/", "/queue"):
        page = ask(assay, path).body.decode()
        assert "The store cannot be written just now" in page
    assert ask(assay, "/api/overview").json["store"]["healthy"] is False
    assert ask(assay, "/healthcheck").status == 503 and ask(assay, "/healthz").status == 200


@pytest.mark.skipif(redis.PROGRAM is None, reason="there is no redis-server here")
def test_a_monitor_over_redis_shows_all_and_says_when_it_is_away(servers, tmp_path, sink):
    store = redis.Redis(tmp_path / "redis").start()
    try:
        parts = {}
        for what in ("api", "worker", "monitor"):
            parts[what] = redis.Part(what, servers.folder_of(), servers.images, store.url)
            servers.add(parts[what])
            parts[what].start()
        asset_id = parts["api"].submit("text.jpg", **sink.all())
        sink.wait(asset_id, 2)
        parts["monitor"].monitor_port = parts["monitor"].port
        monitor = parts["monitor"]
        assert asset_id in ask(monitor, "/assets?state=failed").body.decode()
        assert f"Asset {asset_id}" in ask(monitor, f"/assets/{asset_id}").body.decode()
        assert monitor.figures()["failed"] == 1
        assert ask(monitor, "/api/history").status == 200
        assert confirm(monitor, f"/assets/{asset_id}/retry").status == 303
        sink.wait(asset_id, 4)
        store.kill()
        for path in ("/", "/assets", "/queue", "/webhooks", "/workers", f"/assets/{asset_id}"):
            answer = ask(monitor, path)
            assert answer.status == 503 and "The store is away" in answer.body.decode(), path
        for path in ("/api/overview", "/api/tasks", "/api/history", "/api/workers", "/api/webhooks",
                     f"/api/task/info/{asset_id}"):
            answer = ask(monitor, path)
            assert answer.status == 503 and answer.headers["content-type"] == "application/problem+json"
        assert next(events(live(monitor)))[0] == "away"
        for path in ("/workers/1/drain", "/workers/1/resize"):
            assert ask(monitor, path).status == ask(monitor, path, "POST", "", FORM).status == 503
        assert ask(monitor, "/api/worker/pool/shrink/a:1", "POST").status == 503
        away = ask(monitor, "/healthcheck")
        assert away.status == 503 and away.body == b"The store is away.\n"
        assert ask(monitor, "/healthz").status == 200    # it lives all the same
        health = ("health", "--listen", f"127.0.0.1:{monitor.port}", "--health-path", "/healthcheck")
        assert run(*health).returncode == 1
        store.start()
        eventually(lambda: run(*health).returncode == 0, 10, "it is healthy again")
    finally:
        store.kill()
