-- postern.internal.spamc: one request of the protocol between spamc and spamd (spamd's PROTOCOL, version 1.5), its answer held to what it
-- says. An answer is believed when all of it is there, it says everything once, and nothing follows it.

local spamc = {}

local LINE_MAX, FIELDS_MAX, BODY_MAX = 1000, 32, 262144
local SCORE_MAX = 1e6
local ROUNDING = 0.1 -- scores are rounded on the way, and the verdict is not

local function send(stream, request)
    local head = ("%s SPAMC/1.5\r\nContent-length: %d\r\n%s\r\n"):format(request.command, #request.mail,
        request.user ~= "" and "User: " .. request.user .. "\r\n" or "")
    local ok, why = stream:write(head)
    if ok then
        ok, why = stream:write(request.mail)
    end
    if ok then
        ok, why = stream:end_write()
    end
    return ok, why
end

local function read_status(stream)
    local line, why = stream:read_line(LINE_MAX)
    if not line then
        return nil, why
    end
    local code, text = line:match("^SPAMD/%d+%.%d+ (%d+) ([%w_ ]+)$")
    if code ~= "0" then
        return nil, code and ("spamd says %s %s"):format(code, text) or "this is no answer of spamd"
    end
    return true
end

-- Fields by their names in lower case.
local function read_fields(stream)
    local fields = {}
    for _ = 1, FIELDS_MAX do
        local line, why = stream:read_line(LINE_MAX)
        if not line then
            return nil, why
        elseif line == "" then
            return fields
        end
        local name, value = line:match("^([%w-]+):%s*(.-)%s*$")
        if not name or fields[name:lower()] then
            return nil, "a field of the answer is malformed, or there twice"
        end
        fields[name:lower()] = value
    end
    return nil, "too long"
end

local function read_body(stream, fields)
    local length = tonumber((fields["content-length"] or ""):match("^%d%d?%d?%d?%d?%d?%d?$"))
    if not length then
        return nil, "the answer has no length"
    elseif length > BODY_MAX then
        return nil, "too long"
    end
    local body, why = stream:read(length)
    if body then
        local rest
        rest, why = stream:read_end(0)
        body = rest and body
    end
    return body, why
end

local function score_of(text)
    local score = text:match("^%-?%d+%.?%d*$") and #text < 20 and tonumber(text)
    return score and math.abs(score) <= SCORE_MAX and score + 0.0 or nil
end

-- "True ; 15.2 / 5.0"
local function read_verdict(fields)
    local verdict, score, threshold = (fields.spam or ""):match("^(%a+) ; (%S+) / (%S+)$")
    score, threshold = score and score_of(score), threshold and score_of(threshold)
    if not (verdict == "True" or verdict == "False") or not score or not threshold then
        return nil, "the answer has no verdict"
    end
    local is_spam = verdict == "True"
    if is_spam and score < threshold - ROUNDING or not is_spam and score > threshold + ROUNDING then
        return nil, "the answer contradicts itself"
    end
    return { status = is_spam and "spam" or "clean", is_spam = is_spam, score = score, threshold = threshold }
end

---Asks, and reads the answer: status, is_spam, score, threshold, and its body; nil and why.
-- request: command (REPORT or SYMBOLS); user ("": none); mail.
function spamc.ask(stream, request)
    local ok, why = send(stream, request)
    if ok then
        ok, why = read_status(stream)
    end
    local fields = nil
    if ok then
        fields, why = read_fields(stream)
    end
    local body = nil
    if fields then
        body, why = read_body(stream, fields)
    end
    if not body then
        return nil, why
    end
    local result
    result, why = read_verdict(fields)
    if result then
        result.body = body
    end
    return result, why
end

return spamc
