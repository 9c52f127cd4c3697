--[==[
function filter_recipient(msg, rcpt) end
]==]
-- Only filter_recipient answers: what no hook needs is switched off, what it may read comes without reply.
local conn = mt.connect(socket)
assert(conn, "no connection")
assert(mt.negotiate(conn, nil, nil, nil) == nil)
for _, name in ipairs{ "SMFIP_NOBODY", "SMFIP_NOUNKNOWN", "SMFIP_NODATA", "SMFIP_NOEOH" } do
    assert(mt.test_option(conn, _G[name]), name .. " is not asked for")
end
for _, name in ipairs{ "SMFIP_NOCONNECT", "SMFIP_NOHELO", "SMFIP_NOMAIL", "SMFIP_NORCPT", "SMFIP_NOHDRS" } do
    assert(not mt.test_option(conn, _G[name]), name .. " is asked for")
end
for _, name in ipairs{ "SMFIP_NR_CONN", "SMFIP_NR_HELO", "SMFIP_NR_MAIL", "SMFIP_NR_HDR" } do
    assert(mt.test_option(conn, _G[name]), name .. " is not asked for")
end
assert(not mt.test_option(conn, SMFIP_NR_RCPT), "the answer to RCPT is negotiated away")
assert(not mt.test_option(conn, SMFIP_RCPT_REJ), "refused recipients are asked for")
for _, name in ipairs{ "SMFIF_ADDHDRS", "SMFIF_CHGHDRS", "SMFIF_CHGBODY", "SMFIF_ADDRCPT", "SMFIF_DELRCPT", "SMFIF_QUARANTINE" } do
    assert(mt.test_action(conn, _G[name]), name .. " is not asked for")
end
mt.disconnect(conn)
