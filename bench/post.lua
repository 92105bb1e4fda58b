-- wrk: POST /assets/image, every body another one, all of the same length. When wrk is done, one line
-- of JSON with what it counted.
local head, tail, counter, parts = nil, nil, 0, {}

function init(args)
    local seed = args[1] or "0" -- bodies differ between runs too
    local before = '{"assetPath":{"location":"local","path":"./images/' .. seed .. '-'
    local after = '.jpg"},"notifications":{"onStart":"http://127.0.0.1:9000/started",' ..
        '"onSuccess":"http://127.0.0.1:9000/success","onFailure":"http://127.0.0.1:9000/failed"}}'
    head = "POST /assets/image HTTP/1.1\r\nHost: " .. wrk.host .. ":" .. wrk.port ..
        "\r\nContent-Type: application/json\r\nContent-Length: " .. (#before + 8 + #after) ..
        "\r\n\r\n" .. before
    tail = after
end

function request()
    counter = counter + 1
    return head .. string.format("%08d", counter) .. tail
end

function done(summary, latency)
    local e = summary.errors
    print(string.format('{"requests":%d,"us":%d,"p50":%d,"p99":%d,"refused":%d,"lost":%d}',
        summary.requests, summary.duration, latency:percentile(50), latency:percentile(99),
        e.status, e.connect + e.read + e.write + e.timeout))
end
