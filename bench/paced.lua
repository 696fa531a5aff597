-- The load of one wrk thread: requests at moments that know nothing of each other, one in twenty with a bad key.
--
-- wrk ... -s bench/paced.lua URL -- KEY MEAN
--   KEY   a good API key
--   MEAN  milliseconds that a connection waits between an answer and its next request, on average

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

function done(summary, latency)
  local errors = summary.errors
  io.write(string.format(
    'result {"requests":%d,"durationUs":%d,"p50Us":%d,"p99Us":%d,"refused":%d,"broken":%d}\n',
    summary.requests, summary.duration, latency:percentile(50), latency:percentile(99),
    errors.status, errors.connect + errors.read + errors.write + errors.timeout
  ))
end
