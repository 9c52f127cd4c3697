-- open-relay-tempfail.lua: puts off mail from clients that a DNS list calls open relays, until they are mended and the list has seen it.
--
-- An open relay is most often somebody's honest mail server with a mistake in its configuration. A tempfail keeps its mail where its
-- administrator sees it, and lets the mail in when the mistake is gone; a refusal would send it back for good. Our own users are
-- not judged; that is known at MAIL. When the lists cannot be asked, the mail goes on. Needs worker.allow_network. Settings in [filter]:
--   open_relay_zones   lists of addresses, between blanks, each with the answers that count: relays.example=127.0.0.2 bl.example=127.0.0.5
--   open_relay_text    what the client is told before the name of the list

local dnsbl = require "postern.dnsbl"
local log = require "postern.log"

local zones = dnsbl.zones(config.open_relay_zones or "")
local text = config.open_relay_text or "your server relays mail for anybody; we take mail from it when that is mended. Listed by"

function filter_sender(msg)
    if #zones == 0 or msg.conn.is_trusted then
        return
    end
    local zone, found = dnsbl.listed(msg.conn.ip, zones)
    if zone then
        msg:log("open_relay", zone)
        return tempfail{ text = ("%s %s"):format(text, zone), code = 451, dsn = "4.7.1" }
    elseif found then
        log.warn("%s", found)
    end
end
