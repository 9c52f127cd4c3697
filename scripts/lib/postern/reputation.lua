-- postern.reputation: what was thought of something lately, over all workers: an average in which old scores count less and less.
--
--   local reputation = require "postern.reputation"
--   reputation.add("ip:" .. msg.conn.ip, is_spam and 1 or 0)
--   local mean, weight = reputation.get("ip:" .. msg.conn.ip)
--   if weight >= 5 and mean > 0.9 then return reject("too much spam from you") end
--
-- After a half-life a score counts half. An entry is kept until all its scores together count for less than a thousandth.

local store = require "postern.store"
local system = require "postern.internal.system"

local reputation = {}

local PREFIX, LEAST, WEIGHT_MAX = "reputation:", 0.001, 1e9
local half_life = system.options("reputation").half_life

local function check_key(key, name)
    if type(key) ~= "string" or key == "" or #key > 1000 then
        error(("reputation.%s: the key is a string of 1 to 1000 bytes"):format(name), 3)
    end
end

local function check_number(value, what)
    if math.type(value) == nil or value ~= value or value == math.huge or value == -math.huge then
        error(("reputation.add: %s is a number"):format(what), 3)
    end
end

-- Sum and weight of an entry as they are now. Who else may write into the store could have put anything there.
local function present(entry, now)
    if type(entry) ~= "table" or not (math.type(entry.sum) and math.type(entry.weight) and math.type(entry.time)) then
        return 0.0, 0.0
    end
    local left = 0.5 ^ (math.max(now - entry.time, 0) / half_life)
    return entry.sum * left, entry.weight * left
end

---Adds a score. Returns the mean and its weight with it; nil and why when the store cannot be used.
function reputation.add(key, score, weight)
    check_key(key, "add")
    check_number(score, "the score")
    weight = weight or 1
    check_number(weight, "the weight")
    if weight <= 0 or weight > WEIGHT_MAX then
        error("reputation.add: the weight is greater than 0", 2)
    end
    local entry, why = store.update(PREFIX .. key, function(old)
        local now = system.now()
        local sum, total = present(old, now)
        sum, total = sum + score * weight, total + weight
        local kept = math.max(math.log(total / LEAST, 2), 1) * half_life
        return { sum = sum + 0.0, weight = total + 0.0, time = now }, math.min(kept, 3650 * 86400)
    end)
    if not entry then
        return nil, why
    end
    return entry.sum / entry.weight, entry.weight
end

---The mean of the scores, and how many of today's they weigh: 0, 0 when there are none. nil and why when the store cannot be used.
function reputation.get(key)
    check_key(key, "get")
    local entry, why = store.get(PREFIX .. key)
    if why then
        return nil, why
    end
    local sum, weight = present(entry, system.now())
    if weight < LEAST then
        return 0.0, 0.0
    end
    return sum / weight, weight
end

return reputation
