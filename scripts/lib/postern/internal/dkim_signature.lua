-- postern.internal.dkim_signature: what a DKIM-Signature or ARC-Message-Signature field says (RFC 6376 section 3.5), and the key it
-- names (section 3.6.1). What is wrong comes back as nil, result, reason.

local crypto = require "postern.internal.signature"
local domain = require "postern.internal.domain"
local punycode = require "postern.internal.punycode"
local taglist = require "postern.internal.taglist"

local dkim_signature = {}

local ALGORITHMS = { ["rsa-sha256"] = "rsa", ["ed25519-sha256"] = "ed25519" }
local CANONS = { simple = true, relaxed = true }
local KEYS_MAX = 8

local function wrong(reason)
    return nil, "permerror", reason
end

---The two forms of "relaxed/simple"; nil when there is no such.
function dkim_signature.read_canon(text)
    local header, body = text:match("^(%l+)/(%l+)$")
    header, body = header or text, body or "simple"
    if CANONS[header] and CANONS[body] then
        return header, body
    end
end

-- A number of a tag: nil when it is not there, false when it is none.
local function read_number(text)
    if text == nil then
        return nil
    end
    return text:find("^%d+$") and #text <= 15 and tonumber(text) or false
end

local function read_numbers(tags, out)
    for tag, name in pairs{ l = "body_length", t = "time", x = "expires" } do
        out[name] = read_number(tags[tag])
        if out[name] == false then
            return false
        end
    end
    return not (out.time and out.expires and out.expires <= out.time)
end

local function read_identity(tags, out)
    local identity = tags.i or "@" .. out.domain
    local name = punycode.domain(domain.normal(taglist.squeeze(identity):match("@([^@]*)$") or "")) or ""
    out.identity, out.identity_domain = identity, name
    return domain.is_within(name, out.domain)
end

local function read_names(text)
    local names = taglist.split(text:lower(), ":")
    return names, taglist.has(names, "from")
end

---A field's value without the value of its tag b: what is signed.
function dkim_signature.without_signature(field, spans, offset)
    return field:sub(1, offset + spans.b[1] - 1) .. field:sub(offset + spans.b[2] + 1)
end

-- What both kinds of signatures have. needed: tags.
local function read_common(value, needed)
    local tags, spans = taglist.read(value)
    if not tags then
        return wrong(spans)
    end
    for _, tag in ipairs(needed) do
        if not tags[tag] or tags[tag] == "" then
            return wrong("the tag " .. tag .. " is missing")
        end
    end
    -- Names may be told in UTF-8; DNS has them in ASCII (RFC 8616 section 5).
    local out = { tags = tags, spans = spans, domain = punycode.domain(domain.normal(tags.d)) or "", selector = punycode.domain(tags.s) or "",
                  algorithm = tags.a:lower() }
    out.kind = ALGORITHMS[out.algorithm]
    if not out.kind then
        return wrong("the algorithm " .. tags.a:gsub("[^%w-]", "?"):sub(1, 30) .. " is not taken")
    elseif not domain.is_host(out.domain) or not domain.labels(out.selector) or out.selector:find("[^%w%-_.]") then
        return wrong("the domain or the selector is none")
    end
    out.signature = crypto.unbase64(taglist.squeeze(tags.b))
    return out.signature and out or nil, "permerror", "the signature is not in base64"
end
dkim_signature.read_common = read_common

---Reads the value of a field. kind: "dkim" or "arc".
function dkim_signature.read(value, kind)
    local out, result, reason = read_common(value, { "a", "b", "bh", "d", "h", "s" })
    if not out then
        return nil, result, reason
    end
    local tags = out.tags
    local has_from
    out.names, has_from = read_names(tags.h)
    out.body_hash = crypto.unbase64(taglist.squeeze(tags.bh))
    out.header_canon, out.body_canon = dkim_signature.read_canon(tags.c or "simple/simple")
    if kind == "dkim" and tags.v ~= "1" then
        return wrong("the version is not 1")
    elseif not out.header_canon then
        return wrong("the canonical form is not known")
    elseif not out.body_hash then
        return wrong("the hash of the body is not in base64")
    elseif not has_from then
        return wrong("From is not signed")
    elseif not read_numbers(tags, out) then
        return wrong("a number is none, or the signature ends before it begins")
    elseif kind == "dkim" and not read_identity(tags, out) then
        return wrong("the identity is of another domain")
    elseif tags.q and not taglist.has(taglist.split(tags.q:lower(), ":"), "dns/txt") then
        return wrong("its key is not in DNS")
    end
    return out
end

-- ---- keys ----

local function check_key(tags, order, read)
    if tags.v and (tags.v ~= "DKIM1" or order[1] ~= "v") then
        return wrong("the key has another version")
    elseif not tags.p then
        return wrong("the record has no key")
    elseif tags.p == "" then
        return wrong("the key is revoked")
    elseif (tags.k or "rsa") ~= read.kind then
        return wrong("the key is of another kind")
    elseif tags.h and not taglist.has(taglist.split(tags.h:lower(), ":"), "sha256") then
        return wrong("the key is not for SHA-256")
    end
    local services = taglist.split(tags.s or "*", ":")
    if not taglist.has(services, "*") and not taglist.has(services, "email") then
        return wrong("the key is not for mail")
    end
    local flags = taglist.split(tags.t or "", ":")
    if taglist.has(flags, "s") and read.identity_domain and read.identity_domain ~= read.domain then
        return wrong("the key is not for subdomains")
    end
    local bytes = crypto.unbase64(taglist.squeeze(tags.p))
    if not bytes then
        return wrong("the key is not in base64")
    end
    return { bytes = bytes, is_testing = taglist.has(flags, "y") }
end

---Asks for the key of a signature that dkim_signature.read gave: { bytes =, is_testing = }.
function dkim_signature.find_key(read)
    local name = read.selector .. "._domainkey." .. read.domain
    if not domain.labels(name) then
        return wrong("the name of the key is too long")
    end
    local texts, err = require "postern.dns".query(name, "TXT")
    if not texts then
        return nil, "temperror", ("DNS: %s: %s"):format(name, err)
    elseif #texts == 0 then
        return wrong("there is no key")
    end
    local key, result, reason
    for i = 1, math.min(#texts, KEYS_MAX) do
        local tags, why, order = taglist.read(texts[i])
        if tags then
            key, result, reason = check_key(tags, order, read)
        else
            result, reason = "permerror", why
        end
        if key then
            return key
        end
    end
    return nil, result, reason
end

local ANSWERS = {
    wrong = { "fail", "the signature is of something else" },
    ["bad key"] = { "permerror", "the key cannot be read" },
    ["short key"] = { "permerror", "the key is under 1024 bits" },
    ["long key"] = { "permerror", "the key is over 8192 bits" },
}

---Whether the signature is of these bytes: result, reason; sets key_bits.
function dkim_signature.judge(read, key, bytes)
    local answer
    answer, read.key_bits = crypto.verify(read.kind, key.bytes, bytes, read.signature)
    if answer == "good" then
        return "pass"
    end
    return table.unpack(ANSWERS[answer])
end

return dkim_signature
