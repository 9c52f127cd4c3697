-- tag-ambiguous.lua: marks mail that two programs read in two ways with a header field, and lets it through.
--
-- For whoever wants to see what strict-mime.lua would refuse before refusing it, or leaves the decision to a rule further on.
--
-- Settings, in [filter]:
--   ambiguous_header = X-Ambiguous   the field that names what is wrong; one of that name in incoming mail is removed first
--   ambiguous_allow =                kinds of defects that are not marked: bare-lf conflicting-names

local log = require "postern.log"

local header = config.ambiguous_header or "X-Ambiguous"
local allowed = {}
for kind in (config.ambiguous_allow or ""):lower():gmatch("[^%s,]+") do
    allowed[kind] = true
end

local function kinds_of(msg)
    local kinds, seen = {}, {}
    for _, defect in ipairs(msg.defects) do
        if defect.ambiguous and not allowed[defect.kind] and not seen[defect.kind] then
            seen[defect.kind] = true
            kinds[#kinds + 1] = defect.kind
        end
    end
    return kinds
end

function filter_message(msg)
    if msg:header(header) then
        msg:delete_header(header)          -- whoever set it, it was not us
    end
    local kinds = kinds_of(msg)
    if #kinds > 0 then
        log.info("ambiguous: %s", table.concat(kinds, ", "))
        msg:add_header(header, table.concat(kinds, " "))
    end
end
