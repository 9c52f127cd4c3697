-- copy-mail.lua: sends copies of incoming and of outgoing mail to addresses of their own.
--
-- A copy has the same sender and content; nobody is told that it was made. Think of the law and of your users before you
-- keep other people's mail.
--
-- Settings, in [filter]; at least one of the first two:
--   copy_incoming =          where copies of mail from outside go: archive-in@example.net, second@example.net
--   copy_outgoing =          where copies of mail of our own users go
--   copy_of =                only mail from or to these: @example.net, boss@, ann@example.org; without it, all mail
--   copy_max_size = 0        larger mail is not copied; 0: no limit

local log = require "postern.log"

local function list(name)
    local found = {}
    for word in tostring(config[name] or ""):gmatch("[^%s,]+") do
        found[#found + 1] = word
    end
    return found
end

local copies = { ["in"] = list("copy_incoming"), out = list("copy_outgoing") }
local patterns = list("copy_of")
local max_size = config.copy_max_size or 0

if #copies["in"] + #copies.out == 0 then
    error("nothing to copy to: set copy_incoming or copy_outgoing in [filter]", 0)
end

-- The sender is no rcpt object, so its patterns are compared here: whole addresses, "@domain", "user@".
local function sender_matches(msg)
    for _, pattern in ipairs(patterns) do
        local lower = pattern:lower()
        if lower == msg.sender:lower() or lower == "@" .. msg.sender_domain or lower == msg.sender_local:lower() .. "@" then
            return true
        end
    end
    return false
end

local function is_wanted(msg)
    if max_size > 0 and msg.size > max_size then
        return false
    end
    if #patterns == 0 or sender_matches(msg) then
        return true
    end
    for _, rcpt in ipairs(msg.recipients) do
        if rcpt:matches(patterns) then
            return true
        end
    end
    return false
end

local function has_recipient(msg, address)
    for _, rcpt in ipairs(msg.recipients) do
        if rcpt:matches(address) then
            return true
        end
    end
    return false
end

function filter_message(msg)
    local addresses = copies[msg.direction]
    if #addresses == 0 or not is_wanted(msg) then
        return
    end
    for _, address in ipairs(addresses) do
        if not has_recipient(msg, address) then
            -- Nobody outside shall get a report about the copy.
            msg:add_recipient(address, { NOTIFY = "NEVER" })
            log.info("copied to %s", address)
        end
    end
end
