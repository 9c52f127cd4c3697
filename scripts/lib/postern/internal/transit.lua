-- postern.internal.transit: a mail with the fields on top that the mail server will put there, for those who look at it before that: who sent
-- it, in Return-Path and X-Envelope-From, and where it came from, in Received (RFC 5321, section 4.4).

local address = require "postern.internal.address"

local transit = {}

local WORD_MAX = 255
-- Of these one each is believed, and it is ours. SpamAssassin believes none when another stands below a Received.
local OURS = { ["return-path"] = true, ["x-envelope-from"] = true, ["envelope-sender"] = true }

-- What a client says of itself goes into a field of ours: one word of harmless characters, which is none that readers of Received look for.
local function word(text)
    text = text:gsub("[^%w%.%-_:%[%]]", "?"):sub(1, WORD_MAX)
    local lower = text:lower()
    if lower:find("envelope-", 1, true) or lower:find("return-path", 1, true) then
        text = text:gsub("%-", "?")
    end
    return text ~= "" and text or "unknown"
end

local function path(text)
    return "<" .. text:gsub("[%c ()<>]", "?"):sub(1, 2 * WORD_MAX) .. ">"
end

local function literal(ip)
    return #address.bytes(ip) == 16 and "[IPv6:" .. ip .. "]" or "[" .. ip .. "]"
end

-- The name of the client, and whether only its address claims it.
local function name_of(conn)
    if conn.hostname ~= "" then
        return word(conn.hostname) .. " ", ""
    elseif conn.ptr ~= "" and conn.rdns == "forged" then
        return word(conn.ptr) .. " ", " (may be forged)"
    end
    return "", ""
end

-- RFC 3848
local function protocol(conn)
    return "ESMTP" .. (conn.tls and "S" or "") .. (conn.auth and "A" or "")
end

local function received(msg, sender)
    local conn = msg.conn
    local name, note = name_of(conn)
    local id = msg.id and " id " .. word(msg.id) or ""
    local recipients = msg.recipients
    local for_one = #recipients == 1 and "\r\n\tfor " .. path(recipients[1].address) or ""
    return ("Received: from %s (%s%s%s)\r\n\tby %s (envelope-sender %s) (Postern) with %s%s%s;\r\n\t%s\r\n"):format(word(conn.helo), name,
        literal(conn.ip), note, word(conn.macros.j or "localhost"), sender, protocol(conn), id, for_one,
        os.date("!%a, %d %b %Y %H:%M:%S +0000"))
end

-- Where the lines of the header end, and where those are that begin a field of ours: pieces of the mail without these fields.
local function without_ours(mail)
    local pieces, kept_from, at = {}, 1, 1
    local is_ours = false
    while true do
        local line_end = mail:find("\n", at, true)
        local is_folded = mail:find("^[ \t]", at) ~= nil
        local was_ours = is_ours
        is_ours = line_end ~= nil and (is_folded and was_ours or not is_folded and OURS[(mail:match("^([%w-]+)[ \t]*:", at) or ""):lower()] or false)
        if is_ours and not was_ours then
            pieces[#pieces + 1] = mail:sub(kept_from, at - 1)
        elseif was_ours and not is_ours then
            kept_from = at
        end
        if not line_end or mail:find("^\r?\n", at) then
            pieces[#pieces + 1] = mail:sub(kept_from)
            return table.concat(pieces)
        end
        at = line_end + 1
    end
end

---The mail (bytes) with these fields, and no others of their names; without Received when it was made on this machine.
function transit.mail(msg, mail)
    local sender = path(msg.sender)
    return "Return-Path: " .. sender .. "\r\nX-Envelope-From: " .. sender .. "\r\n" .. (msg.conn.ip and received(msg, sender) or "") ..
        without_ours(mail)
end

return transit
