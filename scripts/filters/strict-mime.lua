-- strict-mime.lua: refuses mail that two programs read in two ways, which is how attachments get past filters.
--
-- What counts as ambiguous is the list of defects in postern-filter(5). Honest programs hardly ever write such mail; the sender
-- is told what is wrong with it, so that they can mend theirs.
--
-- Settings, in [filter]:
--   strict_allow =      kinds of defects that are let through: bare-lf raw-8bit-header
--   strict_refuse =     kinds that are refused too, though everybody reads them the same: long-line path-in-name
--   strict_senders =    senders whose mail is not looked at: @example.org, bob@example.com
--   strict_outgoing = no   whether mail of our own users is looked at too: yes

local log = require "postern.log"

local function set_of(text)
    local set = {}
    for word in (text or ""):lower():gmatch("[^%s,]+") do
        set[word] = true
    end
    return set
end

local allowed, refused, senders = set_of(config.strict_allow), set_of(config.strict_refuse), set_of(config.strict_senders)
local outgoing = config.strict_outgoing == true or config.strict_outgoing == "yes"

-- The kinds that count, in order, each once.
local function kinds_of(msg)
    local kinds, seen = {}, {}
    for _, defect in ipairs(msg.defects) do
        local counts = refused[defect.kind] or defect.ambiguous and not allowed[defect.kind]
        if counts and not seen[defect.kind] then
            seen[defect.kind] = true
            kinds[#kinds + 1] = defect.kind
        end
    end
    return kinds
end

function filter_message(msg)
    if msg.direction == "out" and not outgoing or senders[msg.sender:lower()] or senders["@" .. msg.sender_domain:lower()] then
        return
    end
    local kinds = kinds_of(msg)
    if #kinds == 0 then
        return
    end
    log.info("refused: %s", table.concat(kinds, ", "))
    msg:log("defects", table.concat(kinds, " "))
    -- A hostile mail can have many kinds; a reply is short.
    local shown = table.concat(kinds, ", ", 1, math.min(#kinds, 8))
    return reject("This mail is malformed: programs read it in different ways, so that something could be hidden in it.\n"
        .. "What is wrong: " .. shown .. (#kinds > 8 and ", and more" or "") .. ".\n"
        .. "Please send it again with another mail program.")
end
