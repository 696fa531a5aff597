-- The load of one wrk thread: requests at moments that know nothing of each other, one in twenty with a bad key.
--
-- wrk ... -s bench/paced.lua URL -- KEY MEAN
--   KEY   a good API key
--   MEAN  milliseconds that a connection waits between an answer and its next request, on average; 0 for none

local good, bad, mean
local at = 0

function init(args)
  math.randomseed(os.time())
  good = wrk.format("GET", "/users/42", { ["x-api-key"] = args[1] })
  bad = wrk.format("GET", "/users/42", { ["x-api-key"] = "gp_nobody_" .. string.rep("x", 43) })
  mean = tonumber(args[2])
end

function delay()
  return math.random(0, 2 * mean)
end

function request()
  at = at + 1
  return at % 20 == 0 and bad or good
end

-- Beside this file, wherever wrk is started.
dofile(debug.getinfo(1, "S").source:match("^@(.*/)") .. "result.lua")
