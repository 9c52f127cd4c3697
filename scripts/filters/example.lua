-- example.lua: a friendly tour of what a filter can do.
--
--   * mail from a host on a list of our own is refused, with a text that the sender gets to read;
--   * mail with a program in it is refused, whatever name its sender gave it;
--   * every other mail gets a header X-Postern with the number of its parts, and a line in the log.
--
-- Try it without a server:    posternctl run example.lua MESSAGE.eml
-- or with everything around:  posternctl dev example.lua
-- and while that runs, change this file and save it: the next mail meets the new version.

local log = require "postern.log"

-- The top level runs once when the filter is loaded; all workers share what it makes.
local refused_hosts = {
    ["203.0.113.7"] = "it sent us nothing but advertisements",
    ["bad.example.com"] = "its owner asked us to",
}

-- A client has connected. Its address, its name (only if it is verified) and, later on, everything else about the connection is in conn.
-- conn.state belongs to us: what is put there, the later hooks find, whichever worker runs them.
function filter_relay(conn)
    conn.state.refused = refused_hosts[conn.ip or ""] or refused_hosts[conn.hostname:lower()]
    if conn.state.refused then
        log.info("host %s (%s) is on the list", conn.ip, conn.hostname)
    end
    -- A hook that returns nothing lets the mail go on.
end

-- Once for each recipient. A refusal here, not at the connection, since the text of an earlier one is not shown by every mail server.
function filter_recipient(msg, rcpt)
    local why = msg.conn.state.refused
    if why then
        return reject("We take no mail from your server: " .. why)
    end
end

-- The whole message is here. Changes are asked for with methods, and applied when the mail goes on.
function filter_message(msg)
    local n = 0
    for part in msg:parts() do
        n = n + 1
        -- Tests every name that some mail reader could show for this part.
        if part:has_extension{ "exe", "scr", "js", "vbs", "bat" } then
            return reject("We take no programs by mail.")
        end
    end
    msg:add_header("X-Postern", string.format("%d part%s", n, n == 1 and "" or "s"))
    log.info("mail from <%s> about %q has %d part(s)", msg.sender, msg.subject, n)
    msg:log("parts", n)
end
