"""A store on a disk that fills up: refused with 503 until there is room again, and nothing accepted is lost."""
import pytest

from harness import disk
from harness.client import problem
from harness.deadline import eventually


def post(assay, sink, length=3000):
    return assay.post({"assetPath": {"location": "local", "path": "small.jpg" + "/." * (length // 2)},
                       "notifications": sink.all()})


@pytest.mark.parametrize("workers", ["0", "2"])
def test_posts_get_503_until_there_is_room_again(servers, small_disk, sink, workers):
    assay = servers.start("--workers", workers, store=f"sqlite:{small_disk}/store/assay.db")
    ids = [assay.submit("text.jpg", **sink.all())]
    disk.fill(small_disk, leave=200_000)

    refused = None
    for _ in range(2000):
        answer = post(assay, sink)
        if answer.status != 202:
            refused = answer
            break
        ids.append(answer.json["id"])
    assert refused is not None, "the disk never became full"
    problem(refused, 503)
    assert int(refused.headers["retry-after"]) >= 1
    assert b"small.jpg" not in refused.body and b"disk" not in refused.headers["retry-after"].encode()
    for asset_id in ids:
        assert assay.asset(asset_id)["id"] == asset_id
    assert assay.get("/healthz").status == 200
    assert assay.is_running()

    (small_disk / "ballast").unlink()
    def accepted():
        answer = post(assay, sink)
        return answer.json["id"] if answer.status == 202 else problem(answer, 503) and None
    ids.append(eventually(accepted, 10, "room again, accepted again"))
    eventually(lambda: assay.get("/readyz").status == 200, 5, "ready again")
    stored = {asset["id"] for asset in assay.all_assets()}
    assert stored == set(ids), "what was refused is not kept, what was accepted is"
    if workers == "0":
        assay.stop()
        assay.flags += ["--workers", "2"]
        assay.start()
    for asset_id in ids:
        sink.ending(asset_id, within=20)
        assert assay.settled(asset_id)["state"] in ("success", "failed")
        assert len({a.webhook_id for a in sink.of(asset_id)}) == 2
