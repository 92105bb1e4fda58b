"""What assay tells of a Redis to those who look after it."""
import pytest

from harness import redis
from harness.deadline import eventually

pytestmark = pytest.mark.skipif(redis.PROGRAM is None, reason="there is no redis-server here")


def warnings(part):
    """{name: why} of a part that is ready all the same."""
    ready = part.get("/readyz")
    assert ready.status == 200 and ready.json["status"] == "ready" and ready.json["store"]["healthy"], ready
    return {w["name"]: w["why"] for w in ready.json["store"]["warnings"]}


@pytest.mark.parametrize("setting,value,name", [("appendonly", "no", "not_durable"),
                                                ("appendfsync", "everysec", "not_durable"),
                                                ("maxmemory-policy", "allkeys-lru", "may_evict")])
def test_a_redis_that_may_lose_assets_is_told_from_the_start(fleet, setting, value, name):
    fleet.redis.ask("CONFIG", "SET", setting, value)
    api = fleet.part("api")
    [(told, why)] = warnings(api).items()
    assert told == name and f"{setting} {value}" in why
    assert f"event=store_warning name={name}" in api.log()


def test_what_changes_while_it_runs_is_told_too_and_when_it_is_over(fleet):
    worker = fleet.worker()
    assert not warnings(worker)
    fleet.redis.ask("CONFIG", "SET", "appendfsync", "no")
    eventually(lambda: "appendfsync no" in warnings(worker).get("not_durable", ""), 10, "it says so")
    fleet.redis.ask("CONFIG", "SET", "appendfsync", "always")
    eventually(lambda: not warnings(worker), 10, "it is over")
    assert worker.log().count("event=store_warning ") == worker.log().count("event=store_warnings_over") == 1


def test_a_redis_that_tells_no_settings_is_believed_nothing(fleet):
    fleet.redis.ask("ACL", "SETUSER", "default", "-config")
    assert list(warnings(fleet.part("api"))) == ["settings_unknown"]


def test_a_redis_that_cannot_write_its_log_is_not_ready(fleet):
    fleet.redis.ask("CONFIG", "SET", "appendfsync", "everysec")    # with always it ends at once
    worker = fleet.worker()
    fleet.redis.let_files_grow(0)
    told = eventually(lambda: worker.get("/readyz").status == 503 and worker.get("/readyz"), 10, "it says so")
    assert told.json["status"] == "unavailable" and "MISCONF" in told.json["store"]["why"], told
    fleet.redis.let_files_grow()
    eventually(lambda: worker.get("/readyz").status == 200, 10, "it is ready again")


def test_a_redis_that_is_away_is_told_although_nobody_asks_it(fleet):
    api = fleet.part("api")
    fleet.redis.kill()
    told = eventually(lambda: api.get("/readyz").status == 503 and api.get("/readyz"), 20, "it says so")
    assert "connect" in told.json["store"]["why"] or "Redis" in told.json["store"]["why"], told
    fleet.redis.start()
    eventually(lambda: api.get("/readyz").status == 200, 10, "it is ready again")
