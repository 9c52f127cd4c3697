-- tag-external.lua: marks mail that comes from outside: in its subject, in a header field, and in its text.
--
-- Mail of our own users, known by network or by authentication, is not marked. When such a user answers, the tag that came
-- back with the subject is taken off again, so that nobody outside sees it.
--
-- Settings, in [filter]; "no", or nothing behind the =, switches a mark off:
--   external_tag = [external]        what the subject begins with
--   external_header = X-External     the field that is set to "yes"
--   external_banner = …              a note at the end of the text
--   external_partners =              networks whose mail is not marked: 192.0.2.0/24, 2001:db8::/32

local log = require "postern.log"

local function setting(name, default)
    local value = config[name]
    if value == nil then
        value = default
    end
    return value ~= "" and value
end

local tag = setting("external_tag", "[external]")
local header = setting("external_header", "X-External")
local banner = setting("external_banner", "This mail came from outside. Take care with links and attachments.")
local partners = {}
for network in (config.external_partners or ""):gmatch("[^%s,]+") do
    partners[#partners + 1] = network
end

local function is_external(msg)
    return msg.direction == "in" and not (#partners > 0 and msg.conn:in_network(table.unpack(partners)))
end

-- The subject without the tag, wherever answering and forwarding have put it: "Re: [external] Lunch".
local function without_tag(subject)
    local from, to = subject:find(tag, 1, true)
    while from do
        subject = subject:sub(1, from - 1) .. subject:sub(to + 1):gsub("^ ", "")
        from, to = subject:find(tag, from, true)
    end
    return subject
end

local function mark_subject(msg, external)
    local plain = without_tag(msg.subject)
    local wanted = external and tag .. " " .. plain or plain
    if wanted ~= msg.subject then
        msg:set_header("Subject", wanted)
    end
end

function filter_message(msg)
    local external = is_external(msg)
    if tag then
        mark_subject(msg, external)
    end
    if header and msg:header(header) then
        msg:delete_header(header)          -- whoever set it, it was not us
    end
    if not external then
        return
    end
    if header then
        msg:add_header(header, "yes")
    end
    if banner then
        -- Signed and encrypted mail is left alone: a note would break its signature.
        local done, why = msg:append_text("\n-- \n" .. banner .. "\n")
        if not done then
            log.info("no note: %s", why)
        end
    end
end
