-- Posts a body as somebody, again and again, and says the rate: TOKEN, BODY (a file) of the environment.
wrk.method = "POST"
wrk.headers["content-type"] = "application/json"
wrk.headers["authorization"] = "Bearer " .. os.getenv("TOKEN")
wrk.body = io.open(os.getenv("BODY")):read("*a")
done = function(summary, latency)
    local errors = summary.errors
    io.write(string.format("rate=%.1f p50=%.2f p99=%.2f bad=%d\n", summary.requests / summary.duration * 1e6,
        latency:percentile(50) / 1000, latency:percentile(99) / 1000,
        errors.connect + errors.read + errors.write + errors.status + errors.timeout))
end
