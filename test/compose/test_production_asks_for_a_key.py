"""docker-compose.production.yml: a key, a password of Redis, public webhooks only, JSON logs."""
import json

import pytest

from harness.assay import asset_body
from stack import Stack, closed, docker, opened

KEY = "a-key-of-this-test-0123456789abcdef"
PASSWORD = r'quince "medlar" \loquat $sorb `rowan`'    # as a person might choose it


@pytest.fixture(scope="module")
def stack(tmp_path_factory):
    folder = tmp_path_factory.mktemp("secrets")
    for name, secret in ("api-key", KEY), ("redis-password", PASSWORD):
        (folder / name).write_text(secret + "\n")
        (folder / name).chmod(0o444)
    for up in (folder, folder.parent):
        up.chmod(0o755)
    stack = opened(Stack("production", "production", API_KEY_FILE=str(folder / "api-key"),
                         REDIS_PASSWORD_FILE=str(folder / "redis-password"), ASSAY_WEBHOOK_ALLOW="public,private"))
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


def ask_redis(stack, *words, password=None):
    given = ("-e", f"REDISCLI_AUTH={password}") if password else ()
    return docker("exec", *given, stack.container("redis"), "sh", "-c",
                  '"$(command -v redis-cli || command -v valkey-cli)" "$@"', "ask", *words)


def test_without_its_password_redis_tells_nothing(stack):
    assert "NOAUTH" in ask_redis(stack, "DBSIZE")
    assert "NOAUTH" in ask_redis(stack, "DBSIZE", password=PASSWORD + "x")
    assert int(ask_redis(stack, "DBSIZE", password=PASSWORD)) > 0


def test_logs_are_json_and_no_secret_is_seen(stack):
    for service in ("api", "worker", "monitor"):
        for line in stack.log(stack.container(service)).splitlines():
            assert json.loads(line)["event"]
    for service in ("api", "worker", "monitor", "redis"):
        one = stack.container(service)
        seen = stack.log(one) + docker("inspect", one) + docker("top", one, "-eo", "pid,args")
        assert KEY not in seen and "medlar" not in seen and "loquat" not in seen
