-- postern.internal.address_list: address fields in a form that sendmail leaves alone. It writes these fields anew when it delivers, after its
-- filters have seen them: ", " between addresses, names in quotes where a character in them asks for it, no blanks around an address, its own
-- name where a domain is missing. What was signed in another form would not verify. Linear for any text.

local skip = require "postern.internal.skip"

local address_list = {}

address_list.LENGTH_MAX = 60000 -- of a value that is looked at
-- What sendmail puts a name into quotes for: its option MustQuoteChars, and what it takes besides. At other such characters we give up.
local ASKS_FOR_QUOTES = "[@%[%].']"
local WORD = "^=%?[^?%s]+%?([BbQq])%?[^?%s]*%?=$"

-- Addresses as lists of tokens { kind, text }; nil for what we do not know how sendmail takes it: groups, routes, what does not end.
local function split(text)
    local entry = {}
    local out, at = { entry }, 1
    local function take(kind, after)
        if after then
            entry[#entry + 1] = { kind = kind, text = text:sub(at, after - 1) }
            at = after
        end
        return after
    end
    while at <= #text do
        local c = text:sub(at, at)
        local is_taken = true
        if c == "," then
            entry, at = {}, at + 1
            out[#out + 1] = entry
        elseif c == "(" then
            is_taken = take("comment", skip.behind_comment(text, at))
        elseif c == '"' then
            is_taken = take("quoted", skip.behind_quoted(text, at))
        elseif c == "<" then
            local behind = text:match('^< *[^ <>(),;:\\"]+ *>()', at) or text:match('^<"[^"\\<>]*"@[%w.-]+>()', at)
            is_taken = take("angle", behind)
        else
            local behind = text:match('^[^(),"<>;:\\]+()', at)
            is_taken = take("text", behind)
        end
        if not is_taken then
            return nil
        end
    end
    return out
end

local function trim(text)
    return text:match("^ *(.-) *$")
end

local function in_quotes(text)
    return '"' .. text:gsub('"', '\\"') .. '"'
end

-- A name of plain and encoded words: the plain ones into quotes, in which an encoded word would mean nothing.
local function quote_words(text)
    local out, run = {}, {}
    local function end_run()
        local plain = table.concat(run, " ")
        if plain ~= "" then
            out[#out + 1] = plain:find(ASKS_FOR_QUOTES) and in_quotes(plain) or plain
        end
        run = {}
    end
    for word in text:gmatch("[^ ]+") do
        local encoding = word:match(WORD)
        if encoding then
            end_run()
            out[#out + 1] = word:gsub(ASKS_FOR_QUOTES, function(c)
                return ("=%02X"):format(c:byte())
            end)
        else
            run[#run + 1] = word
        end
    end
    end_run()
    return table.concat(out, " ")
end

-- What stands before "<".
local function name_of(entry, n)
    local asks, is_plain, text = false, true, {}
    for i = 1, n do
        local token = entry[i]
        text[i] = token.text
        asks = asks or token.kind == "text" and token.text:find(ASKS_FOR_QUOTES)
        is_plain = is_plain and token.kind == "text"
    end
    local whole = trim(table.concat(text))
    if not asks then
        return whole
    elseif is_plain then
        return quote_words(whole)
    elseif not whole:find("\\", 1, true) and not whole:find("=?", 1, true) then
        return in_quotes(whole)
    end
end

-- Comments from token n on, when there is nothing else; nil when there is.
local function comments_from(entry, n)
    local out = {}
    for i = n, #entry do
        if entry[i].kind == "comment" then
            out[#out + 1] = " " .. entry[i].text
        elseif entry[i].kind ~= "text" or trim(entry[i].text) ~= "" then
            return nil
        end
    end
    return table.concat(out)
end

local function with_domain(address, domain)
    return address:find("^[%w+_.=~#$&*/'-]+$") and domain and address .. "@" .. domain or address
end

local function with_angle(entry, n, domain)
    local name, comments = name_of(entry, n - 1), comments_from(entry, n + 1)
    local address = trim(entry[n].text:sub(2, -2))
    if not name or not comments or address:sub(-1) == "." then
        return nil
    end
    return ("%s<%s>%s"):format(name ~= "" and name .. " " or "", with_domain(address, domain), comments)
end

-- An address without "<", comments on both sides; nothing at all is the empty text.
local function bare(entry, domain)
    local out, address = {}, ""
    for i, token in ipairs(entry) do
        local text = trim(token.text)
        if token.kind == "comment" then
            out[#out + 1] = text
        elseif text ~= "" then
            local is_text = token.kind == "text"
            local is_next = is_text and i > 1 and entry[i - 1].kind == "quoted" and token.text:sub(1, 1) ~= " "
            if is_text and text:find(" ", 1, true) or address ~= "" and not is_next then
                return nil
            end
            if address == "" then
                out[#out + 1] = ""
            end
            address = address .. text
            out.at = out.at or #out
        end
    end
    if out.at then
        out[out.at] = with_domain(address, domain)
    end
    return address:sub(-1) ~= "." and table.concat(out, " ") or nil
end

local function compose(entry, domain)
    for i, token in ipairs(entry) do
        if token.kind == "angle" then
            return with_angle(entry, i, domain)
        end
    end
    return bare(entry, domain)
end

---The value of an address field as sendmail leaves it; nil when it is in such a form already, or what sendmail makes of it is not known.
---domain: its name for itself, or nil.
function address_list.settled(value, domain)
    if #value > address_list.LENGTH_MAX or value:find("[^\t\r\n -~]") then
        return nil
    end
    local before = trim((value:gsub("[ \t\r\n]+", " ")))
    local entries = split(before)
    local out = {}
    for _, entry in ipairs(entries or {}) do
        local text = compose(entry, domain)
        if not text then
            return nil
        elseif text ~= "" then
            out[#out + 1] = text
        end
    end
    local after = table.concat(out, ", ")
    return after ~= "" and after ~= before and after or nil
end

return address_list
