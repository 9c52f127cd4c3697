-- virus-refuse.lua: refuses mail in which a scanner finds a virus, or keeps and discards it.
--
-- Settings, in [filter]:
--   virus_action = refuse   the client's server is told so, and tells the sender;
--                  trap     the mail is kept for you (posternctl trap), and nobody is told: senders of viruses are forged
--   virus_scanner = clamav  clamd is asked;
--                   icap    a scanner that speaks ICAP
-- The section of that name, [clamav] or [icap], says where it is, and what becomes of mail that it cannot look at: a tempfail, unless
-- you say otherwise.

local log = require "postern.log"
local metrics = require "postern.metrics"
local found = metrics.counter("viruses", "mails in which a virus was found")

local action = config.virus_action or "refuse"
if action ~= "refuse" and action ~= "trap" then
    error("filter.virus_action is refuse or trap, not " .. tostring(action))
end

local scanners = { clamav = "postern.clamav", icap = "postern.icap" }
local module = scanners[config.virus_scanner or "clamav"]
if not module then
    error("filter.virus_scanner is clamav or icap, not " .. tostring(config.virus_scanner))
end
local scanner = require(module)

local function keep(msg, name)
    -- False for mail that you have looked at and released: it goes on.
    if msg:trap{ mode = "store", reason = "virus: " .. name } then
        return discard()
    end
end

function filter_message(msg)
    local scanned, why = scanner.scan(msg)
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
