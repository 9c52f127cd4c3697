-- Zones of DNS block lists: which are asked, which of their answers count (RFC 5782), and what stands before them in a question.
-- Errors of arguments name the caller of the caller of zones.list.

local address = require "postern.internal.address"
local crypto = require "postern.internal.signature"
local domain = require "postern.internal.domain"
local punycode = require "postern.internal.punycode"

local zones = {}

local ZONES_MAX, CODES_MAX = 100, 256
local FIRST, LAST = 0x7f000000, 0x7fffffff     -- 127.0.0.0/8: listed
local FIRST_ERROR = 0x7fffff00                 -- 127.255.255.0/24: the list does not want to answer us

local fields = { zone = "string", codes = "table", hash = "string", encoding = "string" }
local digests = { md5 = true, sha1 = true, sha256 = true }

-- ---- answers ----

local function number_of(text)
    local bytes = address.bytes(text)
    return bytes and #bytes == 4 and string.unpack(">I4", bytes) or nil
end

-- "127.0.0.2", "127.0.0.4-11", "127.0.0.2-127.0.1.255"
local function range_of(code)
    local from, to = code:match("^([%d.]+)%-([%d.]+)$")
    from, to = from or code, to or code
    if to:find("^%d+$") then
        to = from:match("^(.*%.)%d+$") .. to
    end
    from, to = number_of(from), number_of(to)
    if from and to and from <= to and from >= FIRST and to < FIRST_ERROR then
        return { from, to }
    end
end

local function counts(ranges, number)
    if not ranges then
        return true
    end
    for _, range in ipairs(ranges) do
        if number >= range[1] and number <= range[2] then
            return true
        end
    end
    return false
end

---The answers that count: a list, maybe empty. Then one that is an error of the list, and one that no list would give.
function zones.judge(zone, answers)
    local kept, wrong, odd = {}, nil, nil
    for _, text in ipairs(answers) do
        local number = number_of(text) or 0
        if number < FIRST or number > LAST then
            odd = odd or text
        elseif number >= FIRST_ERROR then
            wrong = wrong or text
        elseif counts(zone.ranges, number) then
            kept[#kept + 1] = text
        end
    end
    return kept, wrong, odd
end

-- ---- zones as filters give them ----

local function parse_codes(what, codes, level)
    local ranges = {}
    if #codes == 0 or #codes > CODES_MAX then
        error(("%s: codes is a list of 1 to %d"):format(what, CODES_MAX), level + 1)
    end
    for i, code in ipairs(codes) do
        ranges[i] = type(code) == "string" and range_of(code)
            or error(('%s: "127.0.0.2" or "127.0.0.4-11" expected as code, not %s'):format(what, tostring(code)), level + 1)
    end
    return ranges
end

local function check_table(what, given, level)
    for name, value in pairs(given) do
        if not fields[name] then
            error(("%s: a zone has no '%s'"):format(what, tostring(name)), level + 1)
        elseif type(value) ~= fields[name] then
            error(("%s: %s of a zone is a %s"):format(what, name, fields[name]), level + 1)
        end
    end
    if given.hash and not digests[given.hash] then
        error(what .. ": hash is md5, sha1 or sha256", level + 1)
    elseif given.encoding and given.encoding ~= "hex" and given.encoding ~= "base32" then
        error(what .. ": encoding is hex or base32", level + 1)
    end
end

local parsed = setmetatable({}, { __mode = "k" })     -- by the filter's table, which it seldom makes anew

local function parse(what, given, level)
    local zone = type(given) == "string" and { zone = given } or parsed[given]
    if not zone then
        check_table(what, given, level + 1)
        zone = { zone = given.zone, hash = given.hash, encoding = given.encoding,
                 ranges = given.codes and parse_codes(what, given.codes, level + 1) }
        parsed[given] = zone
    end
    if not zone.zone:find("^[%w%-_.]+$") or not domain.labels(zone.zone) then
        error(("%s: the name of a zone expected, not '%s'"):format(what, tostring(zone.zone)), level + 1)
    end
    return zone
end

---Zones, each a name, a table, or a list of these.
function zones.list(what, ...)
    local out = {}
    for i = 1, select("#", ...) do
        local given = select(i, ...)
        local is_list = type(given) == "table" and given.zone == nil
        if type(given) ~= "string" and type(given) ~= "table" then
            error(("%s: a zone expected, not %s"):format(what, type(given)), 3)
        end
        for _, one in ipairs(is_list and given or { given }) do
            if type(one) ~= "string" and type(one) ~= "table" then
                error(("%s: a zone expected, not %s"):format(what, type(one)), 3)
            end
            out[#out + 1] = parse(what, one, 3)
        end
    end
    if #out == 0 or #out > ZONES_MAX then
        error(("%s: 1 to %d zones expected"):format(what, ZONES_MAX), 3)
    end
    return out
end

---Zones as one line of a configuration has them: "zen.example=127.0.0.2-11,127.0.0.20 bl.example".
function zones.from_text(what, text)
    local out = {}
    for word in text:gmatch("%S+") do
        local name, codes = word:match("^([^=]+)=(.+)$")
        local given = { zone = name or word }
        if codes then
            given.codes = {}
            for code in codes:gmatch("[^,]+") do
                given.codes[#given.codes + 1] = code
            end
        end
        parse(what, given, 3)
        out[#out + 1] = given
    end
    return out
end

-- ---- what stands before the zone ----

local MAPPED = ("\0"):rep(10) .. "\255\255"
local NOT_ASKED = {
    "0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12", "192.168.0.0/16", "224.0.0.0/3",
    "::/127", "fc00::/7", "fe80::/9", "ff00::/8",
}

---The address as bytes, an IPv4 address in IPv6 as IPv4; nil when the text is none.
function zones.address(text)
    local bytes = address.bytes(text)
    return bytes and bytes:sub(1, #MAPPED) == MAPPED and bytes:sub(#MAPPED + 1) or bytes
end

---What is asked for an address (RFC 5782, sections 2.1 and 2.4), or nil when no list can know it.
function zones.label_of_address(bytes)
    if address.is_in(address.text(bytes), NOT_ASKED) then
        return nil
    end
    return (address.reverse(bytes):gsub(#bytes == 4 and "%.in%-addr%.arpa$" or "%.ip6%.arpa$", ""))
end

---What is asked for a domain (section 3), or nil when it is none.
function zones.label_of_domain(name)
    local ascii = punycode.domain(domain.normal(name))
    return ascii and domain.is_host(ascii) and not address.bytes(ascii) and ascii or nil
end

local function hex(bytes)
    return (bytes:gsub(".", function(c) return ("%02x"):format(c:byte()) end))
end

-- RFC 4648, section 6, without padding.
local function base32(bytes)
    local alphabet, out, bits, n = "abcdefghijklmnopqrstuvwxyz234567", {}, 0, 0
    local function put(at)
        out[#out + 1] = alphabet:sub(at + 1, at + 1)
    end
    for i = 1, #bytes do
        bits, n = bits << 8 | bytes:byte(i), n + 8
        while n >= 5 do
            n = n - 5
            put(bits >> n & 31)
        end
        bits = bits & (1 << n) - 1
    end
    if n > 0 then
        put(bits << 5 - n & 31)
    end
    return table.concat(out)
end

---What is asked for a text: its hash, as this zone wants it. An address of mail counts in lower case.
function zones.label_of_text(zone, text)
    text = text:find("@", 1, true) and text:lower() or text
    local digest = crypto.digest(zone.hash or "sha1", text)
    return zone.encoding == "base32" and base32(digest) or hex(digest)
end

return zones
