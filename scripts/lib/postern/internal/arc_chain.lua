-- postern.internal.arc_chain: the sets of ARC fields of a message (RFC 8617 section 4.2), and their validation (section 5.2).

local dkim_message = require "postern.internal.dkim_message"
local dkim_signature = require "postern.internal.dkim_signature"
local dkim_verify = require "postern.internal.dkim_verify"
local taglist = require "postern.internal.taglist"
local together = require "postern.internal.together"

local arc_chain = {}

arc_chain.SETS_MAX = 50

local KINDS = { ["arc-authentication-results"] = "results", ["arc-message-signature"] = "signature", ["arc-seal"] = "seal" }
local ORDER = { "results", "signature", "seal" }

-- The instance of a field: for results only what stands in front of the first semicolon is a tag.
local function instance_of(kind, value)
    local text
    if kind == "results" then
        text = value:match("^[ \t\r\n]*[iI][ \t\r\n]*=[ \t\r\n]*(%d+)[ \t\r\n]*;")
    else
        local tags = taglist.read(value)
        text = tags and tags.i and tags.i:match("^%d+$")
    end
    return text and #text <= 3 and tonumber(text) or nil
end

---Sets by instance, each with the numbers of its fields; their count; and what is wrong with them, or nil.
function arc_chain.collect(message)
    local sets, n, wrong = {}, 0, nil
    for name, kind in pairs(KINDS) do
        for _, number in ipairs(message.by_name[name] or {}) do
            local i = instance_of(kind, message:value(number))
            if not i or i < 1 or i > arc_chain.SETS_MAX then
                wrong = "a field has no instance, or one over " .. arc_chain.SETS_MAX
            else
                sets[i] = sets[i] or {}
                wrong = sets[i][kind] and ("instance %d stands twice"):format(i) or wrong
                sets[i][kind], n = number, math.max(n, i)
            end
        end
    end
    for i = 1, n do
        local set = sets[i]
        if not wrong and not (set and set.results and set.signature and set.seal) then
            wrong = ("instance %d is not complete"):format(i)
        end
    end
    return sets, n, wrong
end

-- The seal of a set as it reads: nil, result, reason when it cannot be one.
local function read_seal(message, set, i)
    local read, result, reason = dkim_signature.read_common(message:value(set.seal), { "a", "b", "cv", "d", "s" })
    if not read then
        return nil, result, reason
    elseif read.tags.h then
        return nil, "permerror", "a seal names fields"
    end
    read.cv, read.instance = read.tags.cv:lower(), i
    return read
end

---What a seal is of: the fields of sets first to last, the own one with an empty b=.
function arc_chain.sealed(message, sets, first, last, own)
    local out = {}
    for i = first, last do
        for _, kind in ipairs(ORDER) do
            if i < last or kind ~= "seal" then
                out[#out + 1] = message:canonical_field(sets[i][kind], "relaxed")
            end
        end
    end
    out[#out + 1] = dkim_message.own_field(own, "relaxed")
    return table.concat(out)
end

local function check_seal(message, sets, seal)
    local key, result, reason = dkim_signature.find_key(seal)
    if not key then
        return result, reason
    end
    local number = sets[seal.instance].seal
    local field = message.fields[number]
    local own = dkim_signature.without_signature(field, seal.spans, field:find(":", 1, true))
    return dkim_signature.judge(seal, key, arc_chain.sealed(message, sets, 1, seal.instance, own))
end

local function failed(what, i, result, reason)
    return result == "temperror" and "temperror" or "fail", ("%s of instance %d: %s"):format(what, i, reason)
end

local function read_seals(message, sets, n)
    local seals = {}
    for i = 1, n do
        local seal, result, reason = read_seal(message, sets[i], i)
        if not seal then
            return nil, failed("seal", i, result, reason)
        end
        seals[i] = seal
    end
    for i, seal in ipairs(seals) do
        if seal.cv ~= (i == 1 and "none" or "pass") then
            return nil, "fail", ("the seal of instance %d says that the chain is %s"):format(i, seal.cv:gsub("[^%w]", "?"):sub(1, 20))
        end
    end
    return seals
end

local function check_signature(message, sets, i)
    local result, reason, read = dkim_verify.field(message, sets[i].signature, "arc")
    if read and taglist.has(read.names, "arc-seal") then
        return "permerror", "it signs a seal"
    end
    return result, reason
end

-- From which instance on the message is as it was: section 5.2 step 5.
local function oldest_pass(message, sets, n)
    local oldest = n
    while oldest > 1 and check_signature(message, sets, oldest - 1) == "pass" do
        oldest = oldest - 1
    end
    return oldest > 1 and oldest or 0
end

---Validates: result, reason, seals, the oldest instance that passes (0: all do).
function arc_chain.validate(message, sets, n)
    local seals, result, reason = read_seals(message, sets, n)
    if not seals then
        return result, reason
    end
    result, reason = check_signature(message, sets, n)
    if result ~= "pass" then
        return failed("signature", n, result, reason)
    end
    local judged = together.map(seals, function(seal)
        return table.pack(check_seal(message, sets, seal))
    end)
    for i = n, 1, -1 do
        result, reason = judged[i][1], judged[i][2]
        if result ~= "pass" then
            return failed("seal", i, result, reason)
        end
    end
    return "pass", nil, seals, oldest_pass(message, sets, n)
end

---Whether the newest seal says that the chain is broken: then nobody adds to it.
function arc_chain.is_given_up(message, sets, n)
    local tags = sets[n] and sets[n].seal and taglist.read(message:value(sets[n].seal))
    return tags and tags.cv and tags.cv:lower() == "fail" or false
end

return arc_chain
