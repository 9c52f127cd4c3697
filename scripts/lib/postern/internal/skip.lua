-- postern.internal.skip: comments and quoted strings of header fields (RFC 5322 section 3.2) out of the way. Linear for any text.

local skip = {}

---The position behind a comment that begins at `at`; nil when it does not end.
function skip.behind_comment(text, at)
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

---The same of a quoted string.
function skip.behind_quoted(text, at)
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

local function unquoted(text)
    return (text:sub(2, -2):gsub("\\(.)", "%1"))
end

---Comments become blanks, quoted strings what they say when keep is true, else a letter. What does not end is taken as it stands: for a
---reader who does not mind, it may mean something.
function skip.plain(text, keep)
    local out, at = {}, 1
    while true do
        local from = text:find('[("]', at)
        local after
        if from then
            local is_comment = text:sub(from, from) == "("
            after = (is_comment and skip.behind_comment or skip.behind_quoted)(text, from)
            if after then
                local quoted = keep and not is_comment and unquoted(text:sub(from, after - 1)) or "q"
                out[#out + 1] = text:sub(at, from - 1) .. (is_comment and " " or quoted)
                at = after
            end
        end
        if not after then
            out[#out + 1] = text:sub(at)
            return table.concat(out)
        end
    end
end

return skip
