-- postern.internal.dkim_verify: the verification of one signature of a message, DKIM's or ARC's (RFC 6376 section 6.1).

local dkim_message = require "postern.internal.dkim_message"
local dkim_signature = require "postern.internal.dkim_signature"

local dkim_verify = {}

-- Nil when the body is what was signed, else result, reason.
local function check_body(message, read)
    local hash, total = message:body_hash(read.body_canon, read.body_length)
    if not hash then
        return "permerror", "the body is signed in too many lengths"
    elseif read.body_length then
        if total < read.body_length then
            return "fail", "the body is shorter than what was signed"
        end
        read.unsigned_bytes = total - read.body_length
    end
    if hash ~= read.body_hash then
        return "fail", "the body was changed"
    end
end

local function check(message, number, read)
    if read.expires and os.time() > read.expires then
        return "fail", "the signature has expired"
    end
    local result, reason = check_body(message, read)
    if result then
        return result, reason
    end
    local key
    key, result, reason = dkim_signature.find_key(read)
    if not key then
        return result, reason
    end
    read.is_testing = key.is_testing
    local field = message.fields[number]
    local own = dkim_signature.without_signature(field, read.spans, field:find(":", 1, true))
    return dkim_signature.judge(read, key,
        message:signed_fields(read.names, read.header_canon, number) .. dkim_message.own_field(own, read.header_canon))
end

---Verifies field `number`. Returns result, reason, and what the field says or nil.
function dkim_verify.field(message, number, kind)
    local read, result, reason = dkim_signature.read(message:value(number), kind)
    if read then
        result, reason = check(message, number, read)
    end
    return result, reason, read
end

return dkim_verify
