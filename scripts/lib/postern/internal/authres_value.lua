-- postern.internal.authres_value: the value of an Authentication-Results field (RFC 8601 section 2.2) out of what the modules gave. What
-- comes from mail or DNS is quoted where it must be, and bytes outside printable ASCII become "?". Comments are cut; a property that is too
-- long is left out, since the beginning of a name is another name.

local authres_value = {}

local TEXT_MAX = 200
local PROPERTY_MAX = 64 + 1 + 255 -- an address as long as RFC 5321 has them

local function clean(text)
    return (tostring(text):gsub("[^ -~]", "?"))
end

-- A token as it is, anything else as a quoted string; addresses may stand without quotes.
local function value(text)
    text = clean(text)
    if text:find("^[%w!#$%%&'*+%-.^_`{|}~]*@?[%w!#$%%&'*+%-.^_`{|}~]+$") then
        return text
    end
    return '"' .. text:gsub('["\\]', "\\%0") .. '"'
end

local function comment(text)
    return text and "(" .. clean(tostring(text):sub(1, TEXT_MAX)):gsub("[()\\]", "\\%0") .. ")" or nil
end

local function result(method, name, note, properties)
    local out = { ("%s=%s"):format(method, name), comment(note) }
    for _, property in ipairs(properties) do
        local text = property[2] and tostring(property[2]) or ""
        if text ~= "" and #text <= PROPERTY_MAX then
            out[#out + 1] = property[1] .. "=" .. value(text)
        end
    end
    return table.concat(out, " ")
end

local writers = {}

function writers.auth(out, auth)
    out[#out + 1] = result("auth", "pass", auth.mech, { { "smtp.auth", auth.user } })
end

function writers.spf(out, spf)
    local is_helo = spf.identity == "helo"
    local whom = is_helo and { "smtp.helo", spf.helo } or { "smtp.mailfrom", spf.sender or spf.domain }
    out[#out + 1] = result("spf", spf.result, spf.reason, { whom })
end

function writers.dkim(out, dkim)
    for _, one in ipairs(dkim.signatures or {}) do
        out[#out + 1] = result("dkim", one.result, one.reason,
            { { "header.d", one.domain }, { "header.i", one.identity }, { "header.s", one.selector },
              { "header.a", one.algorithm }, { "header.b", one.b } })
    end
    if #(dkim.signatures or {}) == 0 then
        out[#out + 1] = "dkim=none"
    end
end

function writers.dmarc(out, dmarc)
    local note = dmarc.record and ("p=%s policy=%s"):format(dmarc.record.p, dmarc.policy) or dmarc.reason
    out[#out + 1] = result("dmarc", dmarc.result, note, { { "header.from", dmarc.domain } })
end

function writers.arc(out, arc)
    local note = arc.reason or ((arc.instance or 0) > 0 and "i=" .. arc.instance) or nil
    out[#out + 1] = result("arc", arc.result == "temperror" and "fail" or arc.result, note, {})
end

local ORDER = { "auth", "spf", "dkim", "dmarc", "arc" }

-- Methods of the filter's own: { method =, result =, reason =, properties = { { "smtp.x", "y" } } }.
local function write_other(out, other)
    for _, one in ipairs(other or {}) do
        local method, name = clean(one.method):gsub("[^%w-]", "-"), clean(one.result):gsub("[^%w-]", "-")
        out[#out + 1] = result(method, name, one.reason, one.properties or {})
    end
end

---The value: results has auth, spf, dkim, dmarc, arc, other, those that there are.
function authres_value.make(id, results)
    local out = {}
    for _, name in ipairs(ORDER) do
        if results[name] then
            writers[name](out, results[name])
        end
    end
    write_other(out, results.other)
    return id .. "; " .. (#out > 0 and table.concat(out, "; ") or "none")
end

return authres_value
