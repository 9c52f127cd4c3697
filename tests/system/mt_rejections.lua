--[==[
local function act(stage, key)
    if key == "reject." .. stage then return reject{ text = "no at " .. stage, code = 554, dsn = "5.7.9" } end
    if key == "tempfail." .. stage then return tempfail("later at " .. stage) end
    if key == "discard." .. stage then return discard() end
end
function filter_relay(conn) return act("relay", conn.hostname) end
function filter_helo(conn) return act("helo", conn.hostname) end
function filter_sender(msg) return act("sender", msg.conn.hostname) end
function filter_recipient(msg) return act("recipient", msg.conn.hostname) end
function filter_data(msg) return act("data", msg.conn.hostname) end
function filter_header(msg) return act("header", msg.conn.hostname) end
function filter_headers(msg) return act("headers", msg.conn.hostname) end
function filter_body(msg) return act("body", msg.conn.hostname) end
function filter_message(msg) return act("message", msg.conn.hostname) end
]==]
local steps = {
    { "relay", function(conn, host) return mt.conninfo(conn, host, "192.0.2.1") end },
    { "helo", function(conn) return mt.helo(conn, "client.example.org") end },
    { "sender", function(conn) return mt.mailfrom(conn, "<a@example.org>") end },
    { "recipient", function(conn) return mt.rcptto(conn, "<b@example.net>") end },
    { "data", function(conn) return mt.data(conn) end },
    { "header", function(conn) return mt.header(conn, "Subject", "x") end },
    { "headers", function(conn) return mt.eoh(conn) end },
    { "body", function(conn) return mt.bodystring(conn, "text\r\n") end },
    { "message", function(conn) return mt.eom(conn) end },
}

-- The reply at the stage that the host's name tells of; everything before goes on.
local function walk(host)
    local conn = mt.connect(socket)
    assert(conn, "no connection")
    assert(mt.negotiate(conn, nil, nil, nil) == nil)
    local wanted = host:match("%.(%w+)$")
    for _, step in ipairs(steps) do
        local failed = step[2](conn, host)
        assert(failed == nil, host .. ": " .. step[1] .. ": " .. tostring(failed))
        if step[1] == wanted then return conn, mt.getreply(conn) end
        assert(mt.getreply(conn) == SMFIR_CONTINUE, host .. ": " .. step[1])
    end
end

for _, step in ipairs(steps) do
    local stage = step[1]
    local conn, reply = walk("reject." .. stage)
    assert(reply == SMFIR_REPLYCODE, "reject at " .. stage .. " gives " .. string.char(reply))
    if stage == "message" then
        assert(mt.eom_check(conn, MT_SMTPREPLY, "554", "5.7.9", "no at message"), "the reply's text")
    end
    mt.disconnect(conn)
    conn, reply = walk("tempfail." .. stage)
    assert(reply == SMFIR_REPLYCODE, "tempfail at " .. stage .. " gives " .. string.char(reply))
    mt.disconnect(conn)
    if stage ~= "relay" and stage ~= "helo" and stage ~= "recipient" then
        conn, reply = walk("discard." .. stage)
        assert(reply == SMFIR_DISCARD, "discard at " .. stage .. " gives " .. string.char(reply))
        mt.disconnect(conn)
    end
end
