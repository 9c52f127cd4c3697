-- postern.internal.taglist: lists of tags as DKIM, DMARC and ARC write them: "a=x; b=y" (RFC 6376 section 3.2).

local taglist = {}

local TAGS_MAX = 100

---Text without blanks and line ends at its ends. Linear for any text, unlike a lazy pattern before blanks.
function taglist.trim(text)
    local first = text:find("[^ \t\r\n]")
    local last = #text
    while first and text:find("^[ \t\r\n]", last) do
        last = last - 1
    end
    return first and text:sub(first, last) or ""
end
local trim = taglist.trim

---Text without any blanks and line ends.
function taglist.squeeze(text)
    return (text:gsub("[ \t\r\n]+", ""))
end

-- One tag of text, from `from` to `to`. Name, value, where the value begins.
local function read_tag(text, from, to)
    local tag = text:sub(from, to)
    local equals = tag:find("=", 1, true)
    local name = equals and trim(tag:sub(1, equals - 1))
    if not name or not name:find("^%a[%w_]*$") then
        return nil
    end
    return name, trim(tag:sub(equals + 1)), from + equals
end

---Reads a list: { name = value }, { name = { from, to } } of the raw values, { names in order }; or nil and what is wrong. With is_lenient
---what is no tag is left out, and the first of two counts.
function taglist.read(text, is_lenient)
    local values, spans, order, at = {}, {}, {}, 1
    while at <= #text do
        local to = (text:find(";", at, true) or #text + 1) - 1
        if to == #text and trim(text:sub(at)) == "" then
            break -- a semicolon at the end
        end
        local name, value, from = read_tag(text, at, to)
        if #order == TAGS_MAX then
            return nil, "too many tags"
        elseif name and not values[name] then
            values[name], spans[name], order[#order + 1] = value, { from, to }, name
        elseif not is_lenient then
            return nil, name and "the tag " .. name:sub(1, 20) .. " stands twice" or "a tag has no name or no value"
        end
        at = to + 2
    end
    return values, spans, order
end

---The parts of a value between separators, without blanks.
function taglist.split(value, separator)
    local out = {}
    for part in (value .. separator):gmatch("([^" .. separator .. "]*)" .. separator) do
        out[#out + 1] = taglist.squeeze(part)
    end
    return out
end

function taglist.has(list, value)
    for _, one in ipairs(list) do
        if one == value then
            return true
        end
    end
    return false
end

return taglist
