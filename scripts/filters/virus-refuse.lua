-- virus-refuse.lua: refuses mail in which clamd finds a virus, or keeps and discards it.
--
-- Settings, in [filter]:
--   virus_action = refuse   the client's server is told so, and tells the sender;
--                  trap     the mail is kept for you (posternctl trap), and nobody is told: senders of viruses are forged
-- The section [clamav] of the configuration says where clamd is, and what becomes of mail that it cannot look at: a
-- tempfail, unless you say otherwise.

local clamav = require "postern.clamav"
local log = require "postern.log"
local metrics = require "postern.metrics"
local found = metrics.counter("viruses", "mails in which clamd found a virus")

local action = config.virus_action or "refuse"
if action ~= "refuse" and action ~= "trap" then
    error("filter.virus_action is refuse or trap, not " .. tostring(action))
end

local function keep(msg, name)
    -- False for mail that you have looked at and released: it goes on.
    if msg:trap{ mode = "store", reason = "virus: " .. name } then
        return discard()
    end
end

function filter_message(msg)
    local scanned, why = clamav.scan(msg)
    if not scanned then
        log.error("not scanned for viruses: %s", why)
        return tempfail("this cannot be scanned for viruses now")
    elseif scanned.status ~= "infected" then
        return
    end
    found:inc()
    msg:log("virus", scanned.name)
    if action == "trap" then
        return keep(msg, scanned.name)
    end
    return reject{ text = "this mail carries a virus: " .. scanned.name, code = 554, dsn = "5.7.1" }
end
