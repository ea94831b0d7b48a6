-- Says the rate of a run, for scripts of wrk that begin with it.
done = function(summary, latency)
    local errors = summary.errors
    io.write(string.format("rate=%.1f p50=%.2f p99=%.2f bad=%d\n", summary.requests / summary.duration * 1e6,
        latency:percentile(50) / 1000, latency:percentile(99) / 1000,
        errors.connect + errors.read + errors.write + errors.status + errors.timeout))
end
