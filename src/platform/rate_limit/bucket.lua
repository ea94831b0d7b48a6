-- The formula of bucket.rs, on a bucket that instances share, by Redis' own clock.
-- KEYS[1]: the bucket. ARGV[1]: its capacity. ARGV[2]: points to take, negative to give back.
-- Answers with whether they were granted, the grains used, and the time.
local window = 60000
local grains = window

local capacity = tonumber(ARGV[1])
local points = tonumber(ARGV[2])
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
local full = capacity * grains

local stored = redis.call('HMGET', KEYS[1], 'used', 'at')
local used = tonumber(stored[1]) or 0
local at = tonumber(stored[2]) or now

local elapsed = math.min(math.max(now - at, 0), window)
used = math.min(math.max(used - elapsed * capacity, 0), full)

local after = used + points * grains
local granted = points <= 0 or after <= full
if granted then
    used = math.max(after, 0)
end

if used == 0 then
    redis.call('DEL', KEYS[1])
else
    redis.call('HSET', KEYS[1], 'used', string.format('%.0f', used), 'at', string.format('%.0f', now))
    redis.call('PEXPIRE', KEYS[1], math.ceil(used / capacity))
end
return {granted and 1 or 0, used, now}
