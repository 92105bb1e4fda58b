"""GET /metrics: every series of the documentation, true at the moment it is read."""
import json
import re
import shutil
import subprocess

import pytest

from harness import assay as program
from harness.deadline import eventually

RULES = f"{program.PROJECT}/dist/prometheus-rules.yml"
NAMES = """assay_http_requests_total assay_http_request_duration_seconds assay_assets_total assay_assets
    assay_queue_depth assay_queue_oldest_seconds assay_asset_wait_seconds assay_asset_duration_seconds
    assay_asset_errors_total assay_leases_rescued_total assay_store_warnings assay_validator_deaths_total assay_webhook_attempts_total
    assay_webhook_duration_seconds assay_webhook_backlog assay_workers assay_build_info process_cpu_seconds_total
    process_resident_memory_bytes process_open_fds process_max_fds process_start_time_seconds""".split()
SAMPLE = re.compile(r'^([a-z_]+)(?:\{((?:[a-z]+="[^"\\]*",?)+)\})? ([0-9.]+)$')


def metrics(assay):
    """{'name{labels}': value}; every line is checked."""
    answer = assay.get("/metrics")
    assert answer.status == 200 and answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    samples, family = {}, None
    for line in answer.body.decode().splitlines():
        if line.startswith("# TYPE "):
            family = line.split()[2]
        elif not line.startswith("#"):
            match = SAMPLE.match(line)
            assert match and match.group(1).startswith(family), line
            key = line.rpartition(" ")[0]
            assert key not in samples, line
            samples[key] = float(match.group(3))
    return samples


def test_every_series_is_there_from_the_beginning(servers):
    text = "\n".join(metrics(servers.start("--workers", "0")))
    for name in NAMES:
        assert re.search(rf"^{name}(_bucket|\{{|$)", text, re.MULTILINE) or name == "assay_http_requests_total", name


def test_they_count_what_happened(servers):
    assay = servers.start("--workers", "1")
    ids = [assay.submit(path) for path in ("small.jpg", "small.jpg", "text.jpg", "no-such-file.jpg")]
    for asset_id in ids:
        assay.ended(asset_id)
    assert assay.get("/assets/0000000").status == 404
    m = metrics(assay)
    assert m['assay_assets_total{outcome="accepted"}'] == 4
    assert m['assay_assets_total{outcome="success"}'] == m['assay_assets{state="success"}'] == 2
    assert m['assay_assets_total{outcome="failed"}'] == m['assay_assets{state="failed"}'] == 2
    assert m['assay_asset_errors_total{code="not_reachable"}'] == 1
    assert m['assay_asset_errors_total{code="not_a_jpeg"}'] == 1
    assert m['assay_http_requests_total{route="/assets/image",code="202"}'] == 4
    assert m['assay_http_requests_total{route="/assets/{id}",code="404"}'] == 1
    assert m["assay_asset_wait_seconds_count"] == 4
    assert m['assay_asset_duration_seconds_count{stage="open"}'] == 4
    assert m['assay_asset_duration_seconds_count{stage="check"}'] == 3
    assert m['assay_workers{state="idle"}'] == 1
    states = ("queued", "started", "success", "failed", "pruned")
    assert sum(m[f'assay_assets{{state="{state}"}}'] for state in states) == 4


def test_a_queue_that_waits_is_seen(servers):
    assay = servers.start("--workers", "0")
    for _ in range(3):
        assay.submit("small.jpg")
    m = metrics(assay)
    assert m['assay_queue_depth{state="queued"}'] == 3
    eventually(lambda: metrics(assay)["assay_queue_oldest_seconds"] > 0, 5, "the oldest grows older")


def test_counts_outlive_a_kill_and_a_retry_adds_a_run(servers):
    assay = servers.start("--workers", "1")
    asset_id = assay.submit("text.jpg")
    assay.ended(asset_id)
    assay.kill()
    assay.start()
    assert metrics(assay)['assay_assets_total{outcome="failed"}'] == 1
    assert assay.post(b"", path=f"/assets/{asset_id}/retry").status == 202
    eventually(lambda: metrics(assay)['assay_assets_total{outcome="failed"}'] == 2, 5, "the second run has ended")
    m = metrics(assay)
    assert m['assay_assets_total{outcome="accepted"}'] == m['assay_assets{state="failed"}'] == 1


def test_webhooks_are_counted(servers, sink):
    assay = servers.start()
    asset_id = assay.submit("small.jpg", onStart=sink.url(), onSuccess=sink.url())
    assay.settled(asset_id)
    m = metrics(assay)
    assert m['assay_webhook_attempts_total{event="started",result="delivered"}'] == 1
    assert m['assay_webhook_attempts_total{event="ended",result="delivered"}'] == 1
    assert m["assay_webhook_backlog"] == 0
    assert m["assay_webhook_duration_seconds_count"] == 2


def test_what_the_server_itself_refuses_is_counted(servers):
    assay = servers.start("--workers", "0")
    assert assay.post("x" * 70000).status == 413
    assert metrics(assay)['assay_http_requests_total{route="none",code="413"}'] == 1


@pytest.mark.skipif(not shutil.which("promtool"), reason="promtool is not installed (package prometheus)")
def test_promtool_finds_nothing(assay):
    answer = assay.get("/metrics")
    done = subprocess.run(["promtool", "check", "metrics"], input=answer.body, capture_output=True, check=False)
    assert done.returncode == 0 and not done.stdout + done.stderr, done


@pytest.mark.skipif(not shutil.which("promtool"), reason="promtool is not installed (package prometheus)")
def test_promtool_takes_the_alert_rules():
    done = subprocess.run(["promtool", "check", "rules", RULES],
                          capture_output=True, text=True, check=False)
    assert done.returncode == 0 and "6 rules found" in done.stdout, done


def series(name, values, /, **labels):
    labels = {"job": "assay", "instance": "a:5001", **labels}
    return {"series": name + "{" + ",".join(f'{k}="{v}"' for k, v in labels.items()) + "}", "values": values}


def answers(code, values):
    return series("assay_http_requests_total", values, route="/assets/image", code=code)


# What happens minute by minute (from+step x times), when the alert is asked for, and whether it is firing then.
ALERTS = [
    ("AssayQueueIsStuck", [series("assay_queue_oldest_seconds", "0+60x20")], "12m", True),
    ("AssayQueueIsStuck", [series("assay_queue_oldest_seconds", "0+60x20")], "9m", False),
    ("AssayRefusesAssets", [answers("503", "0+1x20")], "10m", True),
    ("AssayRefusesAssets", [answers("503", "5+0x20"), answers("202", "0+9x20")], "10m", False),
    ("AssayValidatorsDie", [series("assay_validator_deaths_total", "0+1x20", signal="SIGSYS")], "15m", True),
    ("AssayValidatorsDie", [series("assay_validator_deaths_total", "0+0x10 1+0x10", signal="SIGSYS")], "15m", False),
    ("AssayWebhooksAreNotDelivered", [series("assay_webhook_attempts_total", "0+2x40", event="ended", result="failed"),
                                      series("assay_webhook_attempts_total", "0+1x40", event="ended", result="delivered")],
     "30m", True),
    ("AssayWebhooksAreNotDelivered", [series("assay_webhook_attempts_total", "0+1x40", event="ended", result="failed"),
                                      series("assay_webhook_attempts_total", "0+2x40", event="ended", result="delivered")],
     "30m", False),
    ("AssayCountsDoNotAddUp", [series("assay_assets", "4+0x20", state="success"),
                               series("assay_assets_total", "5+0x20", outcome="accepted")], "15m", True),
    ("AssayCountsDoNotAddUp", [series("assay_assets", "4+0x20", state="success"),
                               series("assay_assets", "1+0x20", state="queued"),
                               series("assay_assets_total", "5+0x20", outcome="accepted")], "15m", False),
    ("AssayStoreMayLoseAssets", [series("assay_store_warnings", "0+0x20", name="may_evict"),
                                 series("assay_store_warnings", "1+0x20", name="not_durable")], "6m", True),
    ("AssayStoreMayLoseAssets", [series("assay_store_warnings", "0+0x20", name="may_evict"),
                                 series("assay_store_warnings", "1+0x3 0+0x20", name="not_durable")], "6m", False),
]


@pytest.mark.skipif(not shutil.which("promtool"), reason="promtool is not installed (package prometheus)")
@pytest.mark.parametrize("alert, happens, when, fires", ALERTS)
def test_alerts_fire_when_they_should_and_only_then(tmp_path, alert, happens, when, fires):
    asked = f'count(ALERTS{{alertname="{alert}",alertstate="firing"}}) or vector(0)'
    (tmp_path / "test.yml").write_text(json.dumps({    # JSON is YAML, too
        "rule_files": [RULES], "evaluation_interval": "1m",
        "tests": [{"interval": "1m", "input_series": happens, "promql_expr_test": [
            {"expr": asked, "eval_time": when, "exp_samples": [{"labels": "{}", "value": int(fires)}]}]}]}))
    done = subprocess.run(["promtool", "test", "rules", str(tmp_path / "test.yml")], capture_output=True, text=True,
                          check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_alert_is_tried():
    with open(RULES, encoding="utf-8") as f:
        alerts = set(re.findall(r"- alert: (\w+)", f.read()))
    assert {(alert, fires) for alert, _, _, fires in ALERTS} == {(alert, fires) for alert in alerts for fires in (True, False)}


@pytest.mark.parametrize("path", ["dist/prometheus-rules.yml", "dist/grafana-dashboard.json"])
def test_what_is_shipped_asks_only_for_series_that_there_are(assay, path):
    with open(f"{program.PROJECT}/{path}", encoding="utf-8") as f:
        asked = set(re.findall(r"\b(?:assay|process)_[a-z_]+", f.read()))
    there = {key.partition("{")[0] for key in metrics(assay)}
    assert asked and asked <= there | {"assay_http_requests_total"}, asked - there
