-- refuse-in-recipient.lua: refuses clients with a text that the sender reads.
--
-- Not every mail server shows the text of a refusal at the connection: sendmail does not. So the decision is made when the client connects, kept
-- in conn.state, and told at the first recipient, where every server passes the text on. postmaster can still be reached, as
-- RFC 5321 (4.5.1) wants it, so that somebody can ask why.

local refused_networks = { "198.51.100.0/24", "2001:db8:bad::/48" }

function filter_relay(conn)
    if conn:in_network(table.unpack(refused_networks)) then
        conn.state.why = "mail from " .. conn.ip .. " is not taken here"
    end
end

function filter_recipient(msg, rcpt)
    local why = msg.conn.state.why
    if why and not rcpt:matches{ "postmaster@" } then
        return reject{
            text = why .. "\nIf you think that this is wrong, write to postmaster.",
            code = 554,
            dsn = "5.7.1",
        }
    end
end
