-- helo-checks.lua: refuses clients that say in HELO that they are us.
--
-- Nobody but ourselves has our name or address, and programs that send spam like to take them, since both are at hand. Our own users are
-- not judged: that is known at MAIL, so it is decided there. Settings in [filter]:
--   helo_names       names of ours besides that of the mail server (its macro j), between blanks
--   helo_addresses   addresses of ours besides the one that the client came to, as when it is translated on the way

local own = {}
for name in ((config.helo_names or "") .. " " .. (config.helo_addresses or "")):gmatch("[^%s,]+") do
    own[name:lower()] = true
end

-- "[192.0.2.1]", "[IPv6:2001:db8::1]", "Mx.Example.NET." as names and addresses are written elsewhere.
local function plain(helo)
    helo = helo:lower():gsub("%.$", "")
    return helo:match("^%[ipv6:(.*)%]$") or helo:match("^%[(.*)%]$") or helo
end

local function is_ours(conn, said)
    local name = conn.macros.j
    return own[said] or said == conn.local_ip:lower() or name ~= nil and said == plain(name)
end

function filter_sender(msg)
    local conn = msg.conn
    local said = plain(conn.helo)
    if said == "" or conn.is_trusted or conn.ip == nil or conn.ip == conn.local_ip then
        return
    end
    if is_ours(conn, said) then
        msg:log("helo", said)
        return reject{ text = "you are not " .. said, code = 550, dsn = "5.7.1" }
    end
end
