-- postern.arc: chains of those who handled a message, and what they found of its authentication (RFC 8617).
--
--   local arc = require "postern.arc"
--   local chain = arc.verify(msg)
--   arc.seal(msg, { key = key, domain = "example.org", selector = "2026", arc = chain, spf = spf.check(msg) })

local arc_chain = require "postern.internal.arc_chain"
local authres_value = require "postern.internal.authres_value"
local crypto = require "postern.internal.signature"
local dkim_leaving = require "postern.internal.dkim_leaving"
local dkim_message = require "postern.internal.dkim_message"
local dkim_sign = require "postern.internal.dkim_sign"
local log = require "postern.log"
local options_of = require "postern.internal.options"
local taglist = require "postern.internal.taglist"

local arc = {}

local NAMES = { seal = "ARC-Seal", signature = "ARC-Message-Signature", results = "ARC-Authentication-Results" }

-- ---- verification ----

-- What a set says of authentication, on one line, without its instance.
local function results_text(value)
    return taglist.trim((value:match("^[^;]*;(.*)$") or ""):gsub("[%s%c]+", " "))
end

local function describe(message, sets, seals)
    local out = {}
    for i, seal in ipairs(seals or {}) do
        out[i] = { instance = i, domain = seal.domain, selector = seal.selector, algorithm = seal.algorithm, key_bits = seal.key_bits,
                   results = results_text(message:value(sets[i].results)) }
    end
    return out
end

---Validates the chain of a message as it was received.
function arc.verify(msg, options)
    options_of.check("arc.verify", msg, options, {})
    if not (msg:raw_header("ARC-Seal") or msg:raw_header("ARC-Message-Signature") or msg:raw_header("ARC-Authentication-Results")) then
        return { result = "none", sets = {}, instance = 0 }
    end
    local message = dkim_message.new(msg, false)
    local sets, n, wrong = arc_chain.collect(message)
    local out = { instance = n, sets = {} }
    if wrong then
        out.result, out.reason = "fail", wrong
        return out
    end
    local seals
    out.result, out.reason, seals, out.oldest_pass = arc_chain.validate(message, sets, n)
    out.sets = describe(message, sets, seals)
    out.domain = out.sets[n] and out.sets[n].domain
    return out
end

-- ---- sealing ----

local seal_names = {
    key = "userdata", domain = "string", selector = "string", body = "string", headers = "table", oversign = "table", id = "string",
    arc = "table", auth = "boolean", spf = "table", dkim = "table", dmarc = "table", other = "table",
}
local CV = { none = "none", pass = "pass", fail = "fail" }

local function signed_headers()
    local out = { table.unpack(dkim_sign.HEADERS) }
    out[#out + 1] = "dkim-signature"
    return out
end

local function raw(name, value)
    return ("%s: %s\r\n"):format(name, value)
end

local function make_signature(message, options, i)
    local pieces, bytes = dkim_sign.tags(message, options)
    table.insert(pieces, 1, "i=" .. i)
    return dkim_sign.value(NAMES.signature, pieces, options.key, bytes)
end

-- A seal on a broken chain is of its own set alone (section 5.1.2).
local function make_seal(message, sets, options, i, fields)
    local kind = crypto.key_facts(options.key)
    local pieces = { "i=" .. i, ("a=%s-sha256"):format(kind), "t=" .. options.time, "cv=" .. CV[options.arc.result],
                     "d=" .. options.domain, "s=" .. options.selector }
    local bytes = {}
    for n = 1, options.arc.result == "fail" and 0 or i - 1 do
        for _, part in ipairs{ "results", "signature", "seal" } do
            bytes[#bytes + 1] = message:canonical_field(sets[n][part], "relaxed")
        end
    end
    bytes[#bytes + 1] = crypto.canon(raw(NAMES.results, fields.results), "relaxed")
    bytes[#bytes + 1] = crypto.canon(raw(NAMES.signature, fields.signature), "relaxed")
    return dkim_sign.value(NAMES.seal, pieces, options.key, table.concat(bytes))
end

local function refuse(message, sets, n, wrong, options)
    if message:count("from") == 0 then
        return "there is no From"
    elseif options.arc.result == "temperror" then
        return "whether the chain is good is not known: " .. options.arc.reason
    elseif options.arc.result ~= "fail" and (wrong or n ~= (options.arc.instance or 0)) then
        return "the chain was changed since it was validated"
    elseif n >= arc_chain.SETS_MAX then
        return "the chain is as long as it may be"
    elseif arc_chain.is_given_up(message, sets, n) then
        return "the chain was given up by who sealed it last"
    end
end

local function finish(msg, options)
    local message = dkim_leaving.message(msg, options)
    local sets, n, wrong = arc_chain.collect(message)
    local why = refuse(message, sets, n, wrong, options)
    if why then
        log.warn("not sealed: %s", why)
        return
    end
    options.time = os.time()
    local fields = { results = ("i=%d; %s"):format(n + 1, authres_value.make(options.id, options)) }
    fields.signature = make_signature(message, options, n + 1)
    fields.seal = make_seal(message, sets, options, n + 1, fields)
    for _, part in ipairs{ "seal", "signature", "results" } do
        msg:insert_header(0, NAMES[part], fields[part])
    end
end

---Seals the message as it will leave, when the hook has ended, after dkim.sign. Asks arc.verify when options.arc is not what that gave.
function arc.seal(msg, options)
    options = options_of.check("arc.seal", msg, options, seal_names)
    options = options_of.signer("arc.seal", options)
    if options.id and not options.id:find("^[%w%-_.]+$") then
        error("arc.seal: id is the name of our server", 2)
    end
    options.id = (options.id or msg.macros.j or "localhost"):lower()
    options.headers = options.headers or signed_headers()
    options.oversign = options.oversign or { "from" }
    options.auth = options.auth and msg.conn.auth or nil
    options.arc = options.arc or arc.verify(msg)
    if not CV[options.arc.result] and options.arc.result ~= "temperror" then
        error("arc.seal: arc is what arc.verify gave", 2)
    end
    crypto.at_end(msg, 2, function()
        finish(msg, options)
    end)
end

return arc
