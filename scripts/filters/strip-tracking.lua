-- strip-tracking.lua: takes tracking parameters (utm_source, fbclid …) out of the addresses in text and HTML.
--
-- Signed and encrypted mail and attachments are left alone.
--
-- Settings, in [filter]:
--   tracking_params = utm_*, …      names of parameters, separated by commas or blanks; a * at the end stands for anything
--   tracking_directions = in        whose mail: in, out or both

local log = require "postern.log"
local url = require "postern.url"

local names = {}
for name in (config.tracking_params or "utm_*, fbclid, gclid, mc_cid, mc_eid"):gmatch("[^%s,]+") do
    names[#names + 1] = name
end

local directions = config.tracking_directions or "in"
assert(directions == "in" or directions == "out" or directions == "both", "filter.tracking_directions is in, out or both")

function filter_message(msg)
    if directions ~= "both" and directions ~= msg.direction then
        return
    end
    local changed = url.rewrite(msg, function(address)
        return url.without_params(address, names)
    end)
    if changed > 0 then
        log.info("addresses freed of tracking parameters: %d", changed)
    end
end
