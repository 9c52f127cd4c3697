-- postern.internal.dkim_sign: what DKIM and ARC signatures of our own have in common: which fields are signed, and the text of a
-- signature's field. Fields are always signed in relaxed form, since mail servers fold them anew.

local crypto = require "postern.internal.signature"
local dkim_message = require "postern.internal.dkim_message"

local dkim_sign = {}

-- RFC 6376 section 5.4.1.
dkim_sign.HEADERS = {
    "from", "reply-to", "subject", "date", "to", "cc", "resent-from", "resent-date", "resent-to", "resent-cc", "message-id",
    "in-reply-to", "references", "mime-version", "content-type", "content-transfer-encoding", "content-id", "content-description",
    "sender", "list-id", "list-help", "list-unsubscribe", "list-unsubscribe-post", "list-subscribe", "list-post", "list-owner",
    "list-archive", "autocrypt", "feedback-id",
}
-- Those that a reader sees or decides by: one more is signed than there are, so that none can be put in front.
dkim_sign.OVERSIGN = {
    "from", "reply-to", "subject", "date", "to", "cc", "message-id", "mime-version", "content-type", "content-transfer-encoding",
}

---Names for h=: each as often as there are such fields, and once more when it is oversigned.
function dkim_sign.names(message, headers, oversign)
    local over, out = {}, {}
    for _, name in ipairs(oversign) do
        over[name] = true
    end
    for _, name in ipairs(headers) do
        for _ = 1, message:count(name) + (over[name] and 1 or 0) do
            out[#out + 1] = name
        end
        over[name] = nil
    end
    return out
end

-- Base64 in pieces, between which the field may be folded.
local function in_pieces(text)
    return (text:gsub(("."):rep(64), "%0 "):gsub(" $", ""))
end

---Signs: pieces are the tags without b=, in order; bytes what is signed before the field itself. Returns the field's value.
function dkim_sign.value(name, pieces, key, bytes)
    local text = table.concat(pieces, "; ") .. "; b="
    local own = dkim_message.own_field(name .. ": " .. text .. "\r\n", "relaxed")
    return text .. in_pieces(crypto.base64(crypto.sign(key, bytes .. own)))
end

---The tags that sign fields and body: { "a=…", "c=…", … }, and the fields' bytes.
function dkim_sign.tags(message, options)
    local kind = crypto.key_facts(options.key)
    local names = dkim_sign.names(message, options.headers or dkim_sign.HEADERS, options.oversign or dkim_sign.OVERSIGN)
    local hash = message:body_hash(options.body, nil)
    local pieces = {
        "a=" .. kind .. "-sha256", "c=relaxed/" .. options.body, "d=" .. options.domain, "s=" .. options.selector,
        "t=" .. options.time, "h=" .. table.concat(names, ": "), "bh=" .. crypto.base64(hash),
    }
    return pieces, message:signed_fields(names, "relaxed")
end

return dkim_sign
