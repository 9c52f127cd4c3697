-- postern.dnsbl: lists of addresses, domains and hashes that are asked through DNS (RFC 5782).
--
--   local dnsbl = require "postern.dnsbl"
--   local zone, answers = dnsbl.listed(conn.ip, "zen.example", { zone = "bl.example", codes = { "127.0.0.2", "127.0.0.4-11" } })
--   if zone then
--       return reject(dnsbl.reason(conn.ip, zone) or "listed by " .. zone)
--   end

local async = require "postern.async"
local dns = require "postern.dns"
local domain = require "postern.internal.domain"
local log = require "postern.log"
local system = require "postern.internal.system"
local zones = require "postern.internal.dnsbl_zone"

local dnsbl = {}

local TELL_EVERY, TOLD_MAX = 3600, 1000 -- seconds; zones
local REASON_MAX = 300                  -- bytes

-- ---- what is wrong with a list ----

local told, n_told = {}, 0

-- Once in a while, for each zone.
local function tell(zone, fmt, ...)
    local now = system.now()
    if told[zone] and math.abs(now - told[zone]) < TELL_EVERY then
        return
    elseif not told[zone] then
        n_told = n_told + 1
    end
    if n_told > TOLD_MAX then
        told, n_told = {}, 1
    end
    told[zone] = now
    log.warn("dnsbl: %s " .. fmt, zone, ...)
end

-- ---- asking ----

-- The answers that count; nil when there are none, and why when the list could not be asked.
local function ask(zone, label)
    local name = label .. "." .. zone.zone
    if #name > domain.NAME_MAX then
        return nil -- too long to be listed
    end
    local answers, err = dns.query(name, "A")
    if not answers then
        return nil, zone.zone .. ": " .. err
    end
    local kept, wrong, odd = zones.judge(zone, answers)
    if wrong then
        tell(zone.zone, "does not answer us: %s", wrong)
        return nil, ("%s: it answers %s, an error"):format(zone.zone, wrong)
    elseif odd then
        tell(zone.zone, "answers %s, which no list does", odd)
    end
    return kept[1] and kept or nil
end

-- All at the same time: the first that has it listed is enough.
local function ask_all(list, label_of)
    local calls, n_asked, failed = {}, 0, nil
    if #list == 1 then
        local answers, err = ask(list[1], label_of(list[1]))
        if answers then
            return list[1].zone, answers
        end
        return nil, err
    end
    for i, zone in ipairs(list) do
        calls[i] = function()
            local answers, err = ask(zone, label_of(zone))
            n_asked = n_asked + 1
            failed = failed or err
            return answers and { zone = zone.zone, answers = answers }
        end
    end
    local found, none = async.any(calls)
    if found then
        return found.zone, found.answers
    end
    return nil, failed or n_asked < #list and none or nil
end

local function check_text(what, value)
    if type(value) ~= "string" then
        error(("bad argument #1 to '%s' (string expected, got %s)"):format(what, type(value)), 3)
    end
end

-- The bytes of an address, or of the address that a message came from.
local function bytes_of(what, ip)
    if type(ip) == "userdata" then
        ip = ip.conn.origin.ip
    end
    if ip == nil then
        return nil
    elseif type(ip) ~= "string" then
        error(("bad argument #1 to '%s' (an address or a msg expected, got %s)"):format(what, type(ip)), 3)
    end
    return zones.address(ip) or error(("%s: '%s' is no address"):format(what, ip), 3)
end

-- ---- lists ----

---The zones of a line of the configuration, as the functions below take them: "zen.example=127.0.0.2-11,127.0.0.20 bl.example".
function dnsbl.zones(text)
    check_text("dnsbl.zones", text)
    local list = zones.from_text("dnsbl.zones", text) -- no tail call: errors name the filter's line
    return list
end

---Which zone lists an address, or that of a message's origin, and its answers.
function dnsbl.listed(ip, ...)
    local list = zones.list("dnsbl.listed", ...)
    local bytes = bytes_of("dnsbl.listed", ip)
    local label = bytes and zones.label_of_address(bytes)
    if not label then
        return nil
    end
    return ask_all(list, function() return label end)
end

---Which zone lists a domain.
function dnsbl.listed_domain(name, ...)
    check_text("dnsbl.listed_domain", name)
    local list = zones.list("dnsbl.listed_domain", ...)
    local label = zones.label_of_domain(name)
    if not label then
        return nil
    end
    return ask_all(list, function() return label end)
end

---Which zone lists the hash of a text, most often of an address of mail.
function dnsbl.listed_hash(text, ...)
    check_text("dnsbl.listed_hash", text)
    local list = zones.list("dnsbl.listed_hash", ...)
    if text == "" then
        return nil
    end
    return ask_all(list, function(zone) return zones.label_of_text(zone, text) end)
end

-- ---- reasons ----

local function label_of(zone, what)
    if zone.hash then
        return what ~= "" and zones.label_of_text(zone, what) or nil
    end
    local bytes = zones.address(what)
    if bytes then
        return zones.label_of_address(bytes)
    end
    return zones.label_of_domain(what)
end

---What a zone says of an address, a domain, or a text: printable ASCII that can stand in a reply.
function dnsbl.reason(what, zone)
    if type(what) == "userdata" then
        what = what.conn.origin.ip or ""
    end
    check_text("dnsbl.reason", what)
    local list = zones.list("dnsbl.reason", zone)
    local label = label_of(list[1], what)
    local name = label and label .. "." .. list[1].zone
    if not name or #name > domain.NAME_MAX then
        return nil
    end
    local texts, err = dns.query(name, "TXT")
    if not texts then
        return nil, list[1].zone .. ": " .. err
    end
    local text = (texts[1] or ""):gsub("[^!-~]+", " "):match("^ ?(.-) ?$"):sub(1, REASON_MAX)
    return text ~= "" and text or nil
end

return dnsbl
