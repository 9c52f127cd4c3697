-- postern.internal.spf_record: an SPF record (RFC 7208 sections 4.5, 4.6, 5 and 6) as a list of mechanisms and its modifiers.
--
-- The whole record is read before any of it is judged: one wrong term anywhere makes it a permanent error.

local address = require "postern.internal.address"
local macro = require "postern.internal.spf_macro"

local record = {}

local RESULTS = { ["+"] = "pass", ["-"] = "fail", ["~"] = "softfail", ["?"] = "neutral" }

-- A length of a prefix: no leading zero, no more than max.
local function read_length(text, max)
    local n = text:find("^%d%d?%d?$") and (text == "0" or text:byte() ~= 48) and tonumber(text)
    return n and n <= max and n or nil
end

-- Takes "/24//64" off the end of an argument. Nil when there is one that is wrong.
local function take_lengths(text)
    local rest, six = text:match("^(.-)//(%d+)$")
    rest = rest or text
    local before, four = rest:match("^(.*)/(%d+)$")
    rest = before or rest
    local length4, length6 = read_length(four or "32", 32), read_length(six or "128", 128)
    if not length4 or not length6 then
        return nil
    end
    return rest, length4, length6
end

-- ":domain" or nothing.
local function read_optional_domain(argument, out)
    if argument == "" then
        return out
    end
    out.domain = argument:sub(1, 1) == ":" and macro.read_domain(argument:sub(2)) or nil
    return out.domain and out
end

local function read_hosts(argument, out)
    local rest
    rest, out.length4, out.length6 = take_lengths(argument)
    return rest and read_optional_domain(rest, out)
end

local function read_needed_domain(argument, out)
    return argument ~= "" and read_optional_domain(argument, out)
end

local function network_reader(bytes, bits)
    return function(argument, out)
        local text, length = argument:match("^:([^/]+)/(%d+)$")
        text = text or argument:match("^:([^/]+)$")
        out.network = text and address.bytes(text)
        out.length = read_length(length or tostring(bits), bits)
        return out.network and #out.network == bytes and out.length and out
    end
end

local readers = {
    all = function(argument, out) return argument == "" and out end,
    include = read_needed_domain,
    exists = read_needed_domain,
    a = read_hosts,
    mx = read_hosts,
    ptr = read_optional_domain,
    ip4 = network_reader(4, 32),
    ip6 = network_reader(16, 128),
}

local function read_mechanism(term)
    local qualifier, name, argument = term:match("^([+?~-]?)(%w+)(.*)$")
    local reader = name and readers[name:lower()]
    if not reader then
        return nil
    end
    local out = { name = name:lower(), result = RESULTS[qualifier] or "pass", text = term }
    return reader(argument, out) or nil
end

-- True when the term is a modifier that is right; unknown ones are only checked.
local function read_modifier(name, value, out)
    if name == "redirect" or name == "exp" then
        if out[name] then
            return false
        end
        out[name] = macro.read_domain(value)
        return out[name] ~= nil
    end
    return macro.read(value, false) ~= nil
end

---Whether a TXT record is one of SPF version 1.
function record.is_spf(text)
    return text:find("^[vV]=[sS][pP][fF]1$") ~= nil or text:find("^[vV]=[sS][pP][fF]1 ") ~= nil
end

---Reads a record: { mechanisms…, redirect =, exp = }, or nil and the term that is wrong.
function record.read(text)
    local out = {}
    for term in text:sub(7):gmatch("[^ ]+") do
        local name, value = term:match("^(%a[%w%-_.]*)=(.*)$")
        local is_right
        if name then
            is_right = read_modifier(name:lower(), value, out)
        else
            local mechanism = read_mechanism(term)
            out[#out + 1], is_right = mechanism, mechanism ~= nil
        end
        if not is_right then
            return nil, term
        end
    end
    return out
end

return record
