-- The load of one wrk thread: eight client headers, and a token that changes with every request.
--
-- wrk ... -s bench/wrk.lua URL -- TOKENS [COUNT]
--   TOKENS  a file with one token a line, taken in turn
--   COUNT   send exactly so many requests and then wait, answered and idle, to be interrupted

local requests = {}
local at = 0

function init(args)
  for token in io.lines(args[1]) do
    wrk.headers["User-Agent"] = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"
    wrk.headers["Accept"] = "application/json, text/plain, */*"
    wrk.headers["Accept-Language"] = "en-GB,en;q=0.8,de;q=0.5"
    wrk.headers["Accept-Encoding"] = "gzip, deflate, br, zstd"
    wrk.headers["Authorization"] = "Bearer " .. token
    wrk.headers["Cache-Control"] = "no-cache"
    wrk.headers["Traceparent"] = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    requests[#requests + 1] = wrk.format("GET", "/users/42?fields=name,email")
  end
  if args[2] then send_exactly(tonumber(args[2])) end
end

function request()
  at = at % #requests + 1
  return requests[at]
end

-- wrk asks for a delay, in milliseconds, before it sends a request: past the count that is for ever.
function send_exactly(count)
  local due = 0
  function delay()
    due = due + 1
    return due > count and 3600000 or 0
  end
end

-- Beside this file, wherever wrk is started.
dofile(debug.getinfo(1, "S").source:match("^@(.*/)") .. "result.lua")
