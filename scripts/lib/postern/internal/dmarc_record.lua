-- postern.internal.dmarc_record: a DMARC record (RFC 9989 section 4.7), and what it asks for.

local taglist = require "postern.internal.taglist"

local dmarc_record = {}

local POLICIES = { none = true, quarantine = true, reject = true }

local function is_record(text)
    return text:find("^v[ \t]*=[ \t]*DMARC1[ \t]*;") ~= nil or text:find("^v[ \t]*=[ \t]*DMARC1[ \t]*$") ~= nil
end

-- Addresses that reports go to: "mailto:a@example.org!10m"; others are left out.
local function read_addresses(text)
    local out = {}
    for _, uri in ipairs(taglist.split(text or "", ",")) do
        local address = uri:match("^[mM][aA][iI][lL][tT][oO]:([^!]+@[^!]+)")
        if address and #out < 10 then
            out[#out + 1] = address
        end
    end
    return out
end

local function one_of(text, values, default)
    text = text and text:lower()
    return values[text] and text or default
end

-- An unknown policy makes all of them "none" where somebody is told of it by reports, and the record void where nobody is.
local function read_policies(tags, out)
    for _, tag in ipairs{ "p", "sp", "np" } do
        local policy = tags[tag] and tags[tag]:lower()
        if policy and not POLICIES[policy] then
            out.p, out.sp, out.np = "none", nil, nil
            out.is_void = #out.rua == 0
            return
        end
        out[tag] = policy
    end
    out.p = out.p or "none"
end

---Reads one record; nil when it is none. What is wrong behind its version is left out (section 4.8). One that is_void is there, and ends
---the search, but asks for nothing.
function dmarc_record.read(text)
    local tags = is_record(text) and taglist.read(text, true)
    if not tags then
        return nil
    end
    local out = {
        text = text, rua = read_addresses(tags.rua), ruf = read_addresses(tags.ruf), fo = tags.fo,
        adkim = one_of(tags.adkim, { r = true, s = true }, "r"), aspf = one_of(tags.aspf, { r = true, s = true }, "r"),
        psd = one_of(tags.psd, { y = true, n = true, u = true }, "u"), testing = one_of(tags.t, { y = true, n = true }, "n") == "y",
    }
    read_policies(tags, out)
    return out
end

---The policy for a domain: of the record's own domain, of one below it that exists, or of one that does not.
function dmarc_record.policy(record, is_own, exists)
    if is_own then
        return record.p
    end
    return not exists and record.np or record.sp or record.p
end

---What is to be done while the domain only tries: one step less (the tag t).
function dmarc_record.softened(record, policy)
    if not record.testing then
        return policy
    end
    return policy == "reject" and "quarantine" or "none"
end

return dmarc_record
