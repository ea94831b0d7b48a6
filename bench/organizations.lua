-- Posts each organization's body as somebody of it, in turns, and says the rate: ORGANIZATIONS of the environment, a file
-- of lines "token<TAB>body".
local requests, next = {}, 0
for line in io.lines(os.getenv("ORGANIZATIONS")) do
    local token, body = line:match("^(.-)\t(.*)$")
    local headers = { ["content-type"] = "application/json", ["authorization"] = "Bearer " .. token }
    requests[#requests + 1] = { headers, body }
end
request = function()
    next = next % #requests + 1
    local headers, body = requests[next][1], requests[next][2]
    return wrk.format("POST", nil, headers, body)
end
done = function(summary, latency)
    local errors = summary.errors
    io.write(string.format("rate=%.1f p50=%.2f p99=%.2f bad=%d\n", summary.requests / summary.duration * 1e6,
        latency:percentile(50) / 1000, latency:percentile(99) / 1000,
        errors.connect + errors.read + errors.write + errors.status + errors.timeout))
end
