"""Assets that ended longer ago than --retain are pruned; what has not ended is kept, however old."""
import datetime
import time

from harness.client import problem
from harness.deadline import eventually


def age(asset):
    ended = datetime.datetime.fromisoformat(asset["endedAt"].replace("Z", "+00:00"))
    return time.time() - ended.timestamp()


def test_what_ended_long_ago_is_pruned_and_stays_counted(servers):
    assay = servers.start("--retain", "1s")
    asset_id = assay.submit("text.jpg")
    asset = assay.ended(asset_id)
    assay.stop()
    assay.flags += ["--workers", "0"]
    assay.start()
    waiting = [assay.submit("small.jpg") for _ in range(2)]
    eventually(lambda: age(asset) > 1.2, 5, "it is old enough")
    assay.stop()
    assay.start()
    eventually(lambda: assay.get(f"/assets/{asset_id}").status == 404, 5, "it is pruned")
    problem(assay.get(f"/assets/{asset_id}"), 404)
    problem(assay.post(b"", path=f"/assets/{asset_id}/retry"), 404)
    assert [left["id"] for left in assay.all_assets()] == waiting[::-1]
    figures = assay.figures()
    assert figures["accepted"] == 3 and figures["queue depth"] == 2 and figures["failed"] == 0
