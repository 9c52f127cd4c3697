-- postern.dkim: signatures of mail (RFC 6376, 8301, 8463): verified, and made.
--
--   local dkim = require "postern.dkim"
--   local key = assert(dkim.key("/etc/postern/keys/2026.pem"))
--   function filter_message(msg)
--       if msg.direction == "out" then
--           dkim.sign(msg, { key = key, domain = "example.org", selector = "2026" })
--       end
--   end

local crypto = require "postern.internal.signature"
local dkim_leaving = require "postern.internal.dkim_leaving"
local dkim_message = require "postern.internal.dkim_message"
local dkim_sign = require "postern.internal.dkim_sign"
local dkim_verify = require "postern.internal.dkim_verify"
local domain = require "postern.internal.domain"
local log = require "postern.log"
local options_of = require "postern.internal.options"
local together = require "postern.internal.together"

local dkim = {}

local SIGNATURES_MAX = 10
local RANKS = { pass = 1, temperror = 2, fail = 3, permerror = 4 }

-- ---- verification ----

local function facts(read, result, reason)
    local out = { result = result, reason = reason }
    if not read then
        return out
    end
    out.domain, out.selector, out.identity, out.algorithm = read.domain, read.selector, read.identity, read.algorithm
    out.headers, out.body_length, out.unsigned_bytes = read.names, read.body_length, read.unsigned_bytes
    out.canonicalization = read.header_canon .. "/" .. read.body_canon
    out.time, out.expires, out.key_bits, out.testing = read.time, read.expires, read.key_bits, read.is_testing or false
    out.b = crypto.base64(read.signature):sub(1, 8)
    return out
end

-- The first `max` signatures, each judged: their keys are asked for at the same time.
local function judge_all(message, max)
    local numbers = table.move(message.by_name["dkim-signature"], 1, max, 1, {})
    return together.map(numbers, function(number)
        local result, reason, read = dkim_verify.field(message, number, "dkim")
        return facts(read, result, reason)
    end)
end

---Verifies the signatures of a message as it was received.
function dkim.verify(msg, options)
    options = options_of.check("dkim.verify", msg, options, { max_signatures = "number" })
    local out = { result = "none", signatures = {} }
    if not msg:raw_header("DKIM-Signature") then
        return out
    end
    local message = dkim_message.new(msg, false)
    local n, max = message:count("dkim-signature"), options.max_signatures or SIGNATURES_MAX
    out.signatures = judge_all(message, math.floor(math.min(n, max)))
    out.skipped = n > max and n - max or nil
    for _, one in ipairs(out.signatures) do
        if out.result == "none" or RANKS[one.result] < RANKS[out.result] then
            out.result, out.reason, out.domain = one.result, one.reason, one.domain
        end
    end
    return out
end

-- ---- keys ----

---Reads a private key: RSA or Ed25519, in PEM. Nil and why when the file is none, or others may read it.
function dkim.key(path)
    if type(path) ~= "string" then
        error("dkim.key: the path of a file expected", 2)
    end
    local key, why = crypto.read_key(path)
    if not key then
        return nil, ("%s: %s"):format(path, why)
    end
    return key
end

---The TXT record for the public half of a key.
function dkim.record(key)
    if not crypto.is_key(key) then
        error("dkim.record: a key of dkim.key expected", 2)
    end
    local kind, _, public = crypto.key_facts(key)
    return ("v=DKIM1; k=%s; p=%s"):format(kind, crypto.base64(public))
end

-- ---- signatures ----

local sign_names = {
    key = "userdata", domain = "string", selector = "string", identity = "string", body = "string", headers = "table",
    oversign = "table", expires = "number",
}

local function finish(msg, options)
    local message = dkim_leaving.message(msg, options)
    if message:count("from") == 0 then
        log.warn("not signed: there is no From")
        return
    end
    options.time = os.time()
    local pieces, bytes = dkim_sign.tags(message, options)
    table.insert(pieces, 1, "v=1")
    if options.identity then
        table.insert(pieces, 5, "i=" .. options.identity)
    end
    if options.expires then
        table.insert(pieces, #pieces - 1, "x=" .. options.time + options.expires)
    end
    msg:insert_header(0, "DKIM-Signature", dkim_sign.value("DKIM-Signature", pieces, options.key, bytes))
end

---Signs the message as it will leave, when the hook has ended. Several calls make several signatures.
function dkim.sign(msg, options)
    options = options_of.check("dkim.sign", msg, options, sign_names)
    options = options_of.signer("dkim.sign", options)
    local identity_domain = options.identity and domain.normal(options.identity:match("@([^@]*)$") or "")
    if identity_domain and (not domain.is_within(identity_domain, options.domain) or options.identity:find("[^!-~]")
        or options.identity:find(";", 1, true)) then
        error("dkim.sign: identity is an address of the domain", 2)
    end
    if options.expires and (math.type(options.expires) ~= "integer" or options.expires < 1) then
        error("dkim.sign: expires is a number of seconds", 2)
    end
    crypto.at_end(msg, 1, function()
        finish(msg, options)
    end)
end

return dkim
