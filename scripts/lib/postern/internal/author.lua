-- postern.internal.author: the domains that From may mean. A header is hostile: what some mail reader could take for an address counts
-- as one, so that all of them are judged.

local dkim_message = require "postern.internal.dkim_message"
local domain = require "postern.internal.domain"
local punycode = require "postern.internal.punycode"
local skip = require "postern.internal.skip"

local author = {}

local DOMAINS_MAX = 10

-- A name may have blanks around its dots (RFC 5322 section 4.4), and then means both what stands before them and the whole.
local function without_blanks_at_dots(text)
    return (text:gsub("%.[ \t\r\n]+", "."):gsub("%f[ \t\r\n][ \t\r\n]+%.", "."))
end

-- What stands behind each "@".
local function each_domain(text)
    local plain = skip.plain(text)
    local joined = without_blanks_at_dots(plain)
    return (joined == plain and plain or plain .. ", " .. joined):gmatch("@[ \t\r\n]*([^%s,;:<>()\"@]*)")
end

---The domains of all From fields, as received, in ASCII: a list; why an address in them cannot be judged, or nil; and how many fields
---there are.
function author.domains(msg)
    local message = dkim_message.new(msg, false)
    local out, seen, wrong = {}, {}, nil
    for _, number in ipairs(message.by_name.from or {}) do
        for text in each_domain(message:value(number)) do
            local name = punycode.domain(domain.normal(text))
            if not name or not domain.is_host(name) then
                wrong = "an address in From has no domain name"
            elseif not seen[name] and #out == DOMAINS_MAX then
                return out, "there are too many domains in From", message:count("from")
            elseif not seen[name] then
                seen[name], out[#out + 1] = true, name
            end
        end
    end
    if #out == 0 then
        wrong = wrong or "there is no address in From"
    end
    return out, wrong, message:count("from")
end

return author
