-- ratelimit-auth.lua: bounds how much each authenticated user may send, so that a stolen password does not become a flood.
--
-- Each recipient counts. Settings in [filter]:
--   rate_limit    recipients in a period (200)
--   rate_period   the period in seconds (3600)
--   rate_burst    how many at once (rate_limit)
-- What a user has sent is known to all workers. When the store cannot be used, nobody is held back.

local log = require "postern.log"
local ratelimit = require "postern.ratelimit"

local limit = config.rate_limit or 200
local period = config.rate_period or 3600
local burst = config.rate_burst or limit

function filter_recipient(msg)
    local user = msg.conn.auth and msg.conn.auth.user
    if not user then
        return
    end
    local allowed, seconds = ratelimit.hit("auth:" .. user:lower():sub(1, 256), limit, period, burst)
    if allowed == nil then
        log.warn("rate limit: %s", seconds)
    elseif not allowed then
        msg:log("rate_limit", user)
        return tempfail{
            text = ("you have sent to too many recipients: please go on in %d seconds"):format(math.ceil(seconds)),
            code = 452,
            dsn = "4.7.1",
        }
    end
end
