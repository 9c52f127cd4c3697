--[==[
local state = {}
function filter_relay(conn) conn.state.trail = "relay" end
function filter_helo(conn) conn.state.trail = conn.state.trail .. " helo" end
function filter_unknown(conn, command) conn.state.trail = conn.state.trail .. " " .. command end
function filter_header(msg, name, value) msg.state.n = (msg.state.n or 0) + 1 end
function filter_body(msg, chunk) msg.state.bytes = (msg.state.bytes or 0) + #chunk end
function filter_message(msg)
    msg:add_header("X-Trail", msg.conn.state.trail)
    msg:add_header("X-Count", msg.state.n .. " headers, " .. msg.state.bytes .. " bytes")
    msg:add_header("X-Id", msg.id)
end
function filter_abort(msg) end
function filter_close(conn) end
]==]
-- Several messages on one connection, an abort between, macros, an unknown command.
local conn = mt.connect(socket)
assert(conn, "no connection")
assert(mt.negotiate(conn, nil, nil, nil) == nil)
for _, name in ipairs{ "SMFIP_NOCONNECT", "SMFIP_NOHELO", "SMFIP_NOMAIL", "SMFIP_NORCPT", "SMFIP_NOHDRS", "SMFIP_NOBODY", "SMFIP_NOUNKNOWN",
    "SMFIP_NR_CONN", "SMFIP_NR_HELO", "SMFIP_NR_HDR", "SMFIP_NR_BODY", "SMFIP_NR_UNKN" } do
    assert(not mt.test_option(conn, _G[name]), name .. " is asked for")
end
assert(mt.conninfo(conn, "mail.example.org", "192.0.2.1") == nil)
assert(mt.helo(conn, "client.example.org") == nil)
assert(mt.unknown(conn, "XYZZY") == nil)
assert(mt.getreply(conn) == SMFIR_CONTINUE)

local function message(id, lines)
    mt.macro(conn, SMFIC_MAIL, "i", id)
    assert(mt.mailfrom(conn, "<a@example.org>") == nil)
    assert(mt.rcptto(conn, "<b@example.net>") == nil)
    for n = 1, lines do assert(mt.header(conn, "X-Line", tostring(n)) == nil) end
    assert(mt.bodystring(conn, string.rep("x", 10 * lines)) == nil)
end
message("GONE", 7)
assert(mt.abort(conn) == nil)
for lines = 1, 3 do
    message("QUEUE" .. lines, lines)
    assert(mt.eom(conn) == nil)
    assert(mt.getreply(conn) == SMFIR_CONTINUE)
    local function value(name) return (mt.getheader(conn, name, 0):gsub("^ ", "")) end
    assert(value("X-Trail") == "relay helo XYZZY", value("X-Trail"))
    assert(value("X-Count") == lines .. " headers, " .. 10 * lines .. " bytes", value("X-Count"))
    assert(value("X-Id") == "QUEUE" .. lines, value("X-Id"))
end
mt.disconnect(conn)
