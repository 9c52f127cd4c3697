-- refuse-in-recipient.lua: refuses clients and senders with a text that the sender reads, held back until RCPT.
--
-- Not every mail server shows the text of a refusal at the connection: sendmail does not. Many clients read none before RCPT, and a log
-- without sender and recipient helps nobody who asks what became of a mail. So what is found out when the client connects, says its name or
-- names the sender is kept in conn.state and msg.state, and told at the first recipient. postmaster and abuse can still be reached, as
-- RFC 5321 (4.5.1) and RFC 2142 want it, so that somebody can ask why; so can everybody by our own users, who are known at MAIL.
-- Settings in [filter], each a list between blanks:
--   refuse_networks   networks of clients: 192.0.2.0/24 2001:db8::/32
--   refuse_helos      names that no honest server says in HELO, and that of our own domain: localhost example.net
--   refuse_senders    addresses, or domains with an @ before them: eve@example.com @bad.example

local function words(text)
    local list, set = {}, {}
    for word in text:gmatch("[^%s,]+") do
        list[#list + 1] = word
        set[word:lower()] = true
    end
    return list, set
end

local networks = words(config.refuse_networks or "198.51.100.0/24 2001:db8:bad::/48")
local _, helos = words(config.refuse_helos or "")
local _, senders = words(config.refuse_senders or "")

function filter_relay(conn)
    if #networks > 0 and conn:in_network(table.unpack(networks)) then
        conn.state.client = "mail from " .. conn.ip .. " is not taken here"
    end
end

-- It may come again, after STARTTLS; the last one counts.
function filter_helo(conn)
    local said = conn.helo:lower():gsub("%.$", "")
    conn.state.helo = helos[said] and "a server that calls itself " .. said .. " is not believed here" or nil
end

function filter_sender(msg)
    local address = msg.sender:lower()
    if senders[address] or senders["@" .. msg.sender_domain] then
        msg.state.sender = "mail of " .. address .. " is not taken here"
    end
end

function filter_recipient(msg, rcpt)
    local why = msg.conn.state.client or msg.conn.state.helo or msg.state.sender
    if not why or msg.direction == "out" or rcpt:matches{ "postmaster@", "abuse@" } then
        return
    end
    return reject{
        text = why .. "\nIf you think that this is wrong, write to postmaster.",
        code = 554,
        dsn = "5.7.1",
    }
end
