-- Posts a body as somebody, again and again, and says the rate: TOKEN, BODY (a file) of the environment.
dofile("bench/rate.lua")
wrk.method = "POST"
wrk.headers["content-type"] = "application/json"
wrk.headers["authorization"] = "Bearer " .. os.getenv("TOKEN")
wrk.body = io.open(os.getenv("BODY")):read("*a")
