-- dns-block-lists.lua: refuses mail from clients, and of domains, that stand on a DNS block list, with a text that the sender reads.
--
-- Mail of our own users is not judged, and postmaster can be reached. All lists are asked at the same time, once for each mail; the
-- first that says yes is enough. Needs worker.allow_network. Settings in [filter]:
--   dnsbl_zones     lists of addresses, between blanks, each with the answers that count: zen.example=127.0.0.2-11,127.0.0.20 bl.example
--   dnsbl_domains   lists of domains, asked for the domain of the sender
--   dnsbl_failed    tempfail: mail comes later when a list cannot be asked and no other has it; else it goes on
--   dnsbl_edge      yes: mail comes through servers of our own (worker.trusted_relays), and the header tells who brought it to them

local dnsbl = require "postern.dnsbl"
local log = require "postern.log"

local zones = dnsbl.zones(config.dnsbl_zones or "")
local domains = dnsbl.zones(config.dnsbl_domains or "")

local function ask(what, list, look_up, thing)
    if #list == 0 or not thing then
        return nil
    end
    local zone, found = look_up(thing, list)
    if zone then
        local reason = dnsbl.reason(thing, zone)
        return { zone = zone, text = ("%s %s is listed by %s%s"):format(what, thing, zone, reason and ": " .. reason or "") }
    elseif found then
        log.warn("%s", found)
        return { is_failed = true }
    end
end

-- What the lists say of this mail: asked once, and kept for its other recipients.
local function judged(msg)
    local kept = msg.state.dnsbl
    if not kept then
        local client = ask("the client", zones, dnsbl.listed, msg.conn.origin.ip)
        local sender = not (client and client.zone) and ask("the domain", domains, dnsbl.listed_domain, msg.sender_domain)
        kept = sender and sender.zone and sender or client or sender or { is_good = true }
        msg.state.dnsbl = kept
    end
    return kept
end

local function answer(msg)
    if msg.direction == "out" then
        return nil
    end
    local found = judged(msg)
    if found.zone then
        msg:log("dnsbl", found.zone)
        return reject{ text = found.text, code = 554, dsn = "5.7.1" }
    elseif found.is_failed and config.dnsbl_failed == "tempfail" then
        return tempfail{ text = "who you are cannot be checked now: please come again", dsn = "4.7.1" }
    end
end

if config.dnsbl_edge then
    function filter_headers(msg)
        return answer(msg)
    end
else
    function filter_recipient(msg, rcpt)
        if not rcpt:matches{ "postmaster@" } then
            return answer(msg)
        end
    end
end
