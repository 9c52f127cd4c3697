-- postern.spf: whether a client may send mail for a domain (RFC 7208).
--
--   local spf = require "postern.spf"
--   function filter_sender(msg)
--       local judged = spf.check(msg)
--       if judged.result == "fail" then
--           return reject(judged.explanation or "the domain of the sender does not allow this client")
--       end
--   end

local address = require "postern.internal.address"
local domain = require "postern.internal.domain"
local punycode = require "postern.internal.punycode"
local spf_check = require "postern.internal.spf_check"

local spf = {}

local LOCAL_MAX, HELO_MAX = 512, 255
local MAPPED = ("\0"):rep(10) .. "\255\255"

local check_names = { identity = "string", receiver = "string" }

local function check_options(options, level)
    if options ~= nil and type(options) ~= "table" then
        error("spf.check: options is a table", level + 1)
    end
    for name, value in pairs(options or {}) do
        if not check_names[name] then
            error(("spf.check: there is no option '%s'"):format(tostring(name)), level + 1)
        end
        if type(value) ~= check_names[name] then
            error(("spf.check: %s is a %s"):format(name, check_names[name]), level + 1)
        end
    end
    local identity = options and options.identity
    if identity and identity ~= "mailfrom" and identity ~= "helo" then
        error("spf.check: identity is mailfrom or helo", level + 1)
    end
    return options or {}
end

-- A domain as DNS has it (RFC 8616 section 3); what cannot be one stays, and is found wanting.
local function in_ascii(name)
    name = domain.normal(name)
    return punycode.domain(name) or name
end

-- Both parts of a sender; one without a local part is its postmaster (section 4.3).
local function split_sender(sender)
    local localpart, name = sender:match("^(.*)@([^@]*)$")
    if not localpart then
        localpart, name = "", sender
    end
    return localpart ~= "" and localpart or "postmaster", in_ascii(name)
end

---Judges a client's address for a domain: the function check_host of RFC 7208.
function spf.check_host(ip, name, sender, helo, receiver)
    for i = 1, 3 do
        if type((select(i, ip, name, sender))) ~= "string" then
            error(("bad argument #%d to 'spf.check_host' (string expected)"):format(i), 2)
        end
    end
    local bytes = address.bytes(ip)
    if not bytes then
        error("spf.check_host: '" .. ip .. "' is no address", 2)
    end
    if bytes:sub(1, #MAPPED) == MAPPED then
        bytes = bytes:sub(#MAPPED + 1) -- section 5: an IPv4 address in IPv6 counts as IPv4
    end
    local localpart, sender_domain = split_sender(sender)
    local result = { ip = ip, domain = in_ascii(name) }
    if #localpart > LOCAL_MAX then
        result.result, result.reason = "none", "the sender is too long"
        return result
    end
    local check = {
        dns = require "postern.dns", ip = address.text(bytes), ip_bytes = bytes, helo = (helo or ""):sub(1, HELO_MAX),
        sender_local = localpart, sender_domain = sender_domain, receiver = receiver or "unknown",
    }
    result.result, result.reason, result.explanation = spf_check.run(check, result.domain)
    return result
end

-- The client that counts: the first one outside our own relays.
local function origin_of(msg)
    local origin = msg.conn.origin
    return origin.ip, origin.helo
end

---Judges a message: its sender, or the name in HELO when that is asked for or the sender is null.
function spf.check(msg, options)
    if type(msg) ~= "userdata" then
        error(("spf.check: a msg expected, not %s"):format(type(msg)), 2)
    end
    options = check_options(options, 2)
    local ip, helo = origin_of(msg)
    local identity = options.identity or "mailfrom"
    local sender = msg.sender
    if identity == "helo" or sender == "" then
        identity, sender = "helo", "postmaster@" .. helo
    end
    local name = in_ascii(sender:match("^.*@(.*)$") or sender)
    local result
    if ip then
        result = spf.check_host(ip, name, sender, helo, options.receiver)
    else
        result = { result = "none", reason = "the client has no address", domain = name }
    end
    result.identity, result.sender, result.helo = identity, sender, helo
    return result
end

return spf
