-- postern.ratelimit: how often something may happen, over all workers (the generic cell rate algorithm, as in ITU-T I.371).
--
--   local ratelimit = require "postern.ratelimit"
--   local allowed, seconds = ratelimit.hit("user:" .. user, 100, 3600)
--   if allowed == false then return tempfail(("too many mails; try again in %d seconds"):format(seconds)) end
--
-- One number for each key: the time up to which what was allowed is paid for. A hit moves it on by period / limit; one that
-- would put it further than burst hits ahead of now is not allowed, and moves nothing.

local store = require "postern.store"
local system = require "postern.internal.system"

local ratelimit = {}

local PREFIX, NUMBER_MAX, PERIOD_MAX, TTL_MAX = "ratelimit:", 1e9, 366 * 86400, 3650 * 86400

local function check_number(value, what, max, level)
    if math.type(value) == nil or value ~= value or value <= 0 or value > max then
        error(("ratelimit.hit: %s is a number greater than 0, at most %d"):format(what, max), level + 1)
    end
end

---One more of `key`: whether it may happen, and else in how many seconds. nil and why when the store cannot be used.
function ratelimit.hit(key, limit, period, burst)
    if type(key) ~= "string" or key == "" or #key > 1000 then
        error("ratelimit.hit: the key is a string of 1 to 1000 bytes", 2)
    end
    check_number(limit, "limit", NUMBER_MAX, 2)
    check_number(period, "period", PERIOD_MAX, 2)
    burst = burst or limit
    check_number(burst, "burst", NUMBER_MAX, 2)
    local each = period / limit
    local room = each * math.max(burst, 1)
    local seconds = 0.0
    local done, why = store.update(PREFIX .. key, function(paid)
        local now = system.now()
        -- A clock that was set back, or another limit for the same key, must not shut it out for longer than the limit says.
        paid = math.min(math.max(math.type(paid) and paid or now, now), now + room)
        seconds = paid + each - room - now
        if seconds > 1e-6 then
            return paid
        end
        return paid + each + 0.0, math.min(paid + each - now, TTL_MAX)
    end)
    if done == nil then
        return nil, why
    end
    if seconds > 1e-6 then
        return false, seconds
    end
    return true, 0
end

return ratelimit
