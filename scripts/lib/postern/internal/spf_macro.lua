-- postern.internal.spf_macro: macros of SPF (RFC 7208 section 7): their syntax, checked when a record is read, and their expansion.
--
-- A macro-string is read into a list of texts and of { letter =, digits =, is_reversed =, delimiters =, is_escaped = }, which is
-- expanded later: the "p" macro asks DNS, so nothing here runs in a callback of gsub.

local domain = require "postern.internal.domain"

local macro = {}

local LETTERS, EXPLANATION_LETTERS = "[slodiphvSLODIPHV]", "[slodiphcrtvSLODIPHCRTV]"
local FIXED = { ["%"] = "%", _ = " ", ["-"] = "%20" }

local function read_braces(text, at, is_explanation)
    local from, to, letter, digits, reverse, delimiters = text:find("^{(%a)(%d*)([rR]?)([.%-+,/_=]*)}", at)
    if not from or not letter:find(is_explanation and EXPLANATION_LETTERS or LETTERS) then
        return nil
    end
    if digits ~= "" and tonumber(digits) == 0 then
        return nil
    end
    return {
        letter = letter:lower(), is_escaped = letter:find("%u") ~= nil, digits = tonumber(digits),
        is_reversed = reverse ~= "", delimiters = delimiters ~= "" and delimiters or ".",
    }, to + 1
end

---Reads a macro-string; nil when its syntax is wrong. In an explanation blanks may stand, and the letters c, r and t.
function macro.read(text, is_explanation)
    if text:find(is_explanation and "[^ -~]" or "[^!-~]") then
        return nil
    end
    local pieces, at = {}, 1
    while at <= #text do
        local percent = text:find("%", at, true)
        if percent ~= at then
            pieces[#pieces + 1] = text:sub(at, (percent or 0) - 1)
            at = percent or #text + 1
        else
            local piece, after = FIXED[text:sub(at + 1, at + 1)], at + 2
            if not piece then
                piece, after = read_braces(text, at + 1, is_explanation)
            end
            if not piece then
                return nil
            end
            pieces[#pieces + 1], at = piece, after
        end
    end
    return pieces
end

-- toplabel of section 7.1: letters, digits and hyphens, no hyphen at its ends, not digits alone.
local function is_top_label(label)
    return label:find("^[%w-]+$") ~= nil and not label:find("^%-") and not label:find("%-$") and label:find("[%a-]") ~= nil
end

---The same for a domain-spec: it ends in a macro, or in a dot and a top label.
function macro.read_domain(text)
    local pieces = macro.read(text, false)
    local last = pieces and pieces[#pieces]
    if type(last) == "table" then
        return pieces
    end
    local label = last and text:match("%.([^.]*)%.?$")
    return label and is_top_label(label) and pieces or nil
end

-- An IPv6 address as nibbles between dots.
local function dotted(ip_bytes, ip)
    if #ip_bytes == 4 then
        return ip
    end
    return (ip_bytes:gsub(".", function(byte)
        return ("%X.%X."):format(byte:byte() >> 4, byte:byte() & 15)
    end):sub(1, -2))
end

local values = {
    s = function(check) return check.sender_local .. "@" .. check.sender_domain end,
    l = function(check) return check.sender_local end,
    o = function(check) return check.sender_domain end,
    d = function(_, name) return name end,
    i = function(check) return dotted(check.ip_bytes, check.ip) end,
    p = function(check, name) return check.validated_name(check, name) or "unknown" end,
    v = function(check) return #check.ip_bytes == 4 and "in-addr" or "ip6" end,
    h = function(check) return check.helo end,
    c = function(check) return check.ip end,
    r = function(check) return check.receiver end,
    t = function() return tostring(os.time()) end,
}

local function split(text, delimiters)
    local parts, at = {}, 1
    for i = 1, #text do
        if delimiters:find(text:sub(i, i), 1, true) then
            parts[#parts + 1] = text:sub(at, i - 1)
            at = i + 1
        end
    end
    parts[#parts + 1] = text:sub(at)
    return parts
end

local function transform(text, piece)
    local parts = split(text, piece.delimiters)
    if piece.is_reversed then
        for i = 1, #parts // 2 do
            parts[i], parts[#parts - i + 1] = parts[#parts - i + 1], parts[i]
        end
    end
    return table.concat(parts, ".", piece.digits and math.max(1, #parts - piece.digits + 1) or 1)
end

local function escape(text)
    return (text:gsub("[^%w%-._~]", function(byte)
        return ("%%%02X"):format(byte:byte())
    end))
end

local function expand_piece(piece, check, name)
    if type(piece) ~= "table" then
        return piece
    end
    local text = transform(values[piece.letter](check, name), piece)
    return piece.is_escaped and escape(text) or text
end

---Whether the local part of the sender is asked for.
function macro.names_sender(pieces)
    for _, piece in ipairs(pieces) do
        if type(piece) == "table" and (piece.letter == "s" or piece.letter == "l") then
            return true
        end
    end
    return false
end

---Expands what macro.read gave, for the domain that is being judged. May wait for DNS.
function macro.expand(pieces, check, name)
    local out = {}
    for i, piece in ipairs(pieces) do
        out[i] = expand_piece(piece, check, name)
    end
    return table.concat(out)
end

-- The end of the expansion, of a whole name's length at least: a record may ask for thousands of pieces, and the front would be cut anyway.
local function expand_end(pieces, check, name)
    local out, len = "", 0
    for i = #pieces, 1, -1 do
        local text = expand_piece(pieces[i], check, name)
        out, len = text .. out, len + #text
        if len > domain.NAME_MAX + 2 then
            break
        end
    end
    return out
end

---The same as a domain: labels are taken off at the front until it is short enough (section 7.3).
function macro.expand_domain(pieces, check, name)
    local text = domain.normal(expand_end(pieces, check, name))
    if #text > domain.NAME_MAX then
        local tail = text:sub(-domain.NAME_MAX - 1)
        text = tail:match("^[^.]*%.(.+)$") or tail
    end
    return text
end

return macro
