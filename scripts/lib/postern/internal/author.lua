-- postern.internal.author: the domains that From may mean. A header is hostile: what some mail reader could take for an address counts
-- as one, so that all of them are judged.

local dkim_message = require "postern.internal.dkim_message"
local domain = require "postern.internal.domain"
local punycode = require "postern.internal.punycode"

local author = {}

local DOMAINS_MAX = 10

-- The position behind a comment or a quoted string that begins at `at`; nil when it does not end.
local function skip_comment(text, at)
    local depth = 0
    while true do
        local from = text:find("[()\\]", at)
        if not from then
            return nil
        end
        local c = text:sub(from, from)
        depth = depth + (c == "(" and 1 or c == ")" and -1 or 0)
        at = from + (c == "\\" and 2 or 1)
        if depth == 0 then
            return at
        end
    end
end

local function skip_quoted(text, at)
    at = at + 1
    while true do
        local from = text:find('["\\]', at)
        if not from then
            return nil
        end
        if text:sub(from, from) == '"' then
            return from + 1
        end
        at = from + 2
    end
end

-- Comments become blanks, quoted strings a letter. One that does not end is taken as it stands, for what follows may be an address.
local function plain(text)
    local out, at = {}, 1
    while true do
        local from = text:find('[("]', at)
        local after
        if from then
            local is_comment = text:sub(from, from) == "("
            after = (is_comment and skip_comment or skip_quoted)(text, from)
            if after then
                out[#out + 1] = text:sub(at, from - 1) .. (is_comment and " " or "q")
                at = after
            end
        end
        if not after then
            out[#out + 1] = text:sub(at)
            return table.concat(out)
        end
    end
end

-- What stands behind each "@".
local function each_domain(text)
    return plain(text):gmatch("@[ \t\r\n]*([^%s,;:<>()\"@]*)")
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
