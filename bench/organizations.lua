-- Posts each organization's body as somebody of it, in turns, and says the rate: ORGANIZATIONS of the environment, a file
-- of lines "token<TAB>body".
dofile("bench/rate.lua")
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
