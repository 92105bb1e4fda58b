"""docker-compose.production.yml: a key, public webhooks only, JSON logs."""
import json

import pytest

from harness.assay import asset_body
from stack import Stack, closed, docker, opened

KEY = "a-key-of-this-test-0123456789abcdef"


@pytest.fixture(scope="module")
def stack(tmp_path_factory):
    secret = tmp_path_factory.mktemp("secrets") / "api-key"
    secret.write_text(KEY + "\n")
    secret.chmod(0o444)
    for up in (secret.parent, secret.parent.parent):
        up.chmod(0o755)
    stack = opened(Stack("production", "production", API_KEY_FILE=str(secret), ASSAY_WEBHOOK_ALLOW="public,private"))
    stack.up("--build", within=300)
    yield stack
    closed(stack)


def test_without_the_key_there_is_only_health(stack):
    assert stack.post(asset_body("images/good.jpg")).status == 401
    assert stack.get("/assets").status == 401
    assert stack.get("/healthz").status == 200 and stack.get("/readyz").status == 200
    for service in ("api", "worker", "monitor", "redis"):
        stack.wait_healthy(stack.container(service))


def test_with_the_key_assets_are_accepted_and_private_receivers_are_not(stack):
    key = {"Authorization": f"Bearer {KEY}"}
    stack.asset = lambda asset_id: stack.get(f"/assets/{asset_id}", headers=key).json
    for path, urls, errors in (("images/good.jpg", {}, None),
                               ("images/good.jpg", {"onSuccess": "http://172.17.0.1:9/"},
                                {"onSuccess": ["is not an allowed URL"]})):
        answer = stack.post(asset_body(path, **urls), headers=key)
        assert answer.status == 202, answer
        assert stack.ended(answer.json["id"], within=10).get("errors") == errors


def test_logs_are_json_and_the_key_is_in_none(stack):
    for service in ("api", "worker", "monitor"):
        log = stack.log(stack.container(service))
        assert KEY not in log
        for line in log.splitlines():
            assert json.loads(line)["event"]
        assert KEY not in docker("inspect", stack.container(service))
