-- postern.internal.dkim_leaving: the message as it will leave the mail server, which has its own ways with what its filters hand to it. What
-- it would add or write anew is put in its place before the message is signed.

local address_list = require "postern.internal.address_list"
local crypto = require "postern.internal.signature"
local dkim_message = require "postern.internal.dkim_message"
local dkim_sign = require "postern.internal.dkim_sign"

local dkim_leaving = {}

local LINE_MAX = 998 -- RFC 5322 section 2.1.1
local FIELDS_MAX = 10 -- of one name; who sends more is not after a signature that holds
local ADDRESSES = {}
for _, name in ipairs{ "from", "sender", "reply-to", "to", "cc", "resent-from", "resent-sender", "resent-to", "resent-cc" } do
    ADDRESSES[name] = true
end

local function has_long_line(field)
    for line in (#field > LINE_MAX and field or ""):gmatch("[^\r\n]+") do
        if #line > LINE_MAX then
            return true
        end
    end
end

-- A value that the mail server would write anew after us, as it leaves it alone; else nil. sendmail has its own mind about addresses, and
-- both servers break lines that are too long, in the middle of a word: set again, a value is folded.
local function settled(msg, name, field)
    local value = field:match("^[^:]*:(.*)$")
    local new = ADDRESSES[name] and msg.conn.mta == "sendmail" and address_list.settled(value, msg.macros.j)
    if not new and has_long_line(field) and #value <= address_list.LENGTH_MAX and not value:find("[^\t\r\n -~]") then
        new = value:gsub("[\r\n]", ""):match("^[ \t]*(.*)$")
    end
    return new
end

-- Puts a value in the place of field number nth of its name; received is the message as it came. Where it is not known which of the fields
-- received that is, because the filter has changed them, nothing is done, unless there is only one.
local function put(msg, message, received, name, nth, value)
    local own, theirs = message.by_name[name], received.by_name[name] or {}
    local field = message.fields[own[nth]]
    local is_same = #own == #theirs and field == received.fields[theirs[nth]]
    if not is_same and #own > 1 then
        return false
    elseif not is_same then
        msg:delete_header(name) -- what was received, and what the filter put in its place
    end
    msg:set_header(field:match("^[^:]*"), value, nth)
    return true
end

local function settle(msg, message, names)
    local received, has_changed
    for _, name in ipairs(names) do
        for nth, number in ipairs(message:count(name) <= FIELDS_MAX and message.by_name[name] or {}) do
            local value = settled(msg, name, message.fields[number])
            if value then
                received = received or dkim_message.new(msg, false)
                has_changed = put(msg, message, received, name, nth, value) or has_changed
            end
        end
    end
    return has_changed
end

-- What the mail server would add after us, and what would then not be signed.
local function add_missing(msg, message, domain)
    local has_added = false
    if message:count("date") == 0 then
        msg:add_header("Date", os.date("!%a, %d %b %Y %H:%M:%S +0000"))
        has_added = true
    end
    if message:count("message-id") == 0 then
        local id = crypto.hash(msg.uid .. os.time() .. math.random(0)):sub(1, 12)
        msg:add_header("Message-ID", ("<%s@%s>"):format((id:gsub(".", function(c)
            return ("%02x"):format(c:byte())
        end)), domain))
        has_added = true
    end
    return has_added
end

---The message as it will leave, with the fields that it must have, those that are signed in the form that they will have.
function dkim_leaving.message(msg, options)
    local message = dkim_message.new(msg, true)
    local has_added = add_missing(msg, message, options.domain)
    local has_changed = settle(msg, message, options.headers or dkim_sign.HEADERS)
    if has_added or has_changed then
        return dkim_message.new(msg, true)
    end
    return message
end

return dkim_leaving
