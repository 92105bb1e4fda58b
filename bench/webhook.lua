-- wrk: POST a webhook's body, always the same. When wrk is done, one line of JSON with what it counted.
wrk.method = "POST"
wrk.body = '{"id":"4k2m9qx","state":"success"}'
wrk.headers["Content-Type"] = "application/json"
wrk.headers["webhook-id"] = "4k2m9qx_1_success"
wrk.headers["webhook-timestamp"] = "1795507200"

function done(summary, latency)
    local e = summary.errors
    print(string.format('{"requests":%d,"us":%d,"p50":%d,"p99":%d,"refused":%d,"lost":%d}',
        summary.requests, summary.duration, latency:percentile(50), latency:percentile(99),
        e.status, e.connect + e.read + e.write + e.timeout))
end
