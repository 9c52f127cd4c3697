-- postern.internal.icap_client: one question to an ICAP server (RFC 3507): what its service offers, which is remembered; a preview, and the
-- rest when the server asks for it; the answer, and whether what it gives back is what it got.
--
--   local answer, why = client.ask(ask, server, request)
--
-- request: service, method ("RESPMOD" or "REQMOD"), content (a msg or part), size, name, type, ip (or nil), preview (whether one is sent).
-- An answer: found (names); is_same; http, the first line of the HTTP header in it ("": none); istag (or nil).

local answer = require "postern.internal.icap_answer"
local async = require "postern.async"
local internal = require "postern.internal.backend"

local client = {}

local PREVIEW_MAX, TTL_MAX = 65536, 3600
local OPTIONS_BODY_MAX, ANSWER_EXTRA = 65536, 1048576
local HOST = "postern.invalid" -- of what we make up, for a protocol that knows web servers only

-- By server and service: what it said that it can, and until when that holds.
local offers_of = setmetatable({}, { __mode = "k" })

-- ---- what is asked ----

local function place_of(server, service)
    local host = server.path and "localhost" or (server.address:find(":", 1, true) and "[%s]:%d" or "%s:%d"):format(server.address, server.port)
    return { uri = ("icap://%s/%s"):format(host, service), host = host }
end

local function icap_head(method, place, fields)
    return ("%s %s ICAP/1.0\r\nHost: %s\r\nUser-Agent: Postern\r\n%s\r\n\r\n"):format(method, place.uri, place.host, table.concat(fields, "\r\n"))
end

local function escape(name)
    return (name:gsub("[^%w._-]", function(byte) return ("%%%02X"):format(byte:byte()) end))
end

-- Encapsulated, and the HTTP header that goes before the content: an upload, or the answer to a download.
local function http_head(request)
    local url = ("http://%s/%s"):format(HOST, escape(request.name))
    local body = ("Content-Type: %s\r\nContent-Length: %d\r\n\r\n"):format(request.type, request.size)
    if request.method == "REQMOD" then
        local head = ("POST %s HTTP/1.1\r\nHost: %s\r\n%s"):format(url, HOST, body)
        return ("req-hdr=0, req-body=%d"):format(#head), head
    end
    local asked = ("GET %s HTTP/1.1\r\nHost: %s\r\n\r\n"):format(url, HOST)
    local head = asked .. "HTTP/1.1 200 OK\r\n" .. body
    return ("req-hdr=0, res-hdr=%d, res-body=%d"):format(#asked, #head), head
end

-- Everything before the content. preview: its length, or nil.
local function whole_head(request, place, preview)
    local encapsulated, http = http_head(request)
    local fields = { "Allow: 204" }
    if preview then
        fields[#fields + 1] = ("Preview: %d"):format(preview)
    end
    if request.ip then
        fields[#fields + 1] = "X-Client-IP: " .. request.ip
    end
    fields[#fields + 1] = "Encapsulated: " .. encapsulated
    return icap_head(request.method, place, fields) .. http
end

-- In one chunk, and what ends them all.
local function write_chunk(stream, request, from, n, ending)
    local ok, why = true, nil
    if n > 0 then
        ok, why = stream:write(("%x\r\n"):format(n))
        if ok then
            ok, why = stream:write(request.content, from, n)
        end
        ending = "\r\n" .. ending
    end
    if ok then
        ok, why = stream:write(ending)
    end
    return ok, why
end

-- ---- the answer ----

local function begins(lease)
    return function() lease.is_answered = true end
end

-- Whether the server's answer ends with this, and the connection may be used again; nil and why when something follows.
local function finish(lease, head, is_written)
    if lease.stream:rest() == "more" then
        return nil, "something follows the answer"
    end
    local connection = table.concat(head.fields["connection"] or {}, ","):lower()
    lease.is_good = is_written and not connection:find("close", 1, true)
    return true
end

-- What comes back is compared as it comes: it may be as large as what was sent.
local function read_back(stream, request, encapsulated)
    local at, is_same = 1, true
    if encapsulated.body ~= "null-body" then
        local ok, why = answer.body(stream, request.size + ANSWER_EXTRA, function(piece)
            is_same = is_same and internal.holds(request.content, at, piece)
            at = at + #piece
        end)
        if not ok then
            return nil, why
        end
    end
    return { is_same = is_same and at == request.size + 1 }
end

-- The header that we sent in it may come back with more fields; what was made of it is told by its first line.
local function read_modified(stream, request, head)
    local encapsulated = head.encapsulated
    local kind = encapsulated and (encapsulated.header or encapsulated.body):sub(1, 3)
    if not encapsulated or kind == "opt" or kind == "req" and request.method ~= "REQMOD" then
        return nil, "Encapsulated is missing, or does not fit"
    end
    local line, why = answer.http_line(stream, encapsulated)
    local result
    if line then
        result, why = read_back(stream, request, encapsulated)
    end
    if not result then
        return nil, why
    end
    result.http = line
    result.is_same = result.is_same and (line == "" or kind == "req" or line:find("^HTTP/1%.%d 200%f[^%d]") ~= nil)
    result.is_same = result.is_same and (request.method == "RESPMOD" or kind ~= "res")
    return result
end

-- What is left of an answer after its header.
local function read_rest(lease, request, head, is_written)
    local names, why = answer.found(head.fields)
    if not names then
        return nil, why
    end
    local result = { is_same = true, http = "" }
    if head.status == 200 then
        result, why = read_modified(lease.stream, request, head)
    elseif head.status == 204 and head.encapsulated and (head.encapsulated.body ~= "null-body" or head.encapsulated.header) then
        result, why = nil, "Encapsulated does not fit"
    elseif head.status ~= 204 then -- it counts for what it found, and what follows is not read
        result = #names > 0 and result or nil
        why = ("ICAP status %d %s"):format(head.status, head.text)
    end
    local ok = result
    if result and (head.status == 200 or head.status == 204) then
        ok, why = finish(lease, head, is_written())
    end
    if not ok then
        return nil, why
    end
    result.found, result.istag = names, (head.fields.istag or {})[1]
    return result
end

local function read_answer(lease, request, is_written)
    local head, why = answer.head(lease.stream, begins(lease))
    if not head then
        return nil, why
    end
    return read_rest(lease, request, head, is_written)
end

-- ---- what the service offers ----

local function number(fields, name, max)
    local text = (fields[name] or {})[1]
    local digits = text and text:match("^%d+$")
    return digits and math.min(#digits < 10 and tonumber(digits) or max, max) or nil
end

local function holds_word(fields, name, word)
    for _, text in ipairs(fields[name] or {}) do
        for one in text:gmatch("[^%s,]+") do
            if one:lower() == word:lower() then
                return true
            end
        end
    end
    return false
end

local function read_offers(lease)
    local head, why = answer.head(lease.stream, begins(lease))
    if not head then
        return nil, why
    elseif head.status ~= 200 then
        return nil, ("OPTIONS: ICAP status %d %s"):format(head.status, head.text)
    end
    local has_body = head.encapsulated and head.encapsulated.body ~= "null-body"
    local ok = true
    if has_body then
        ok, why = answer.body(lease.stream, OPTIONS_BODY_MAX, function() end)
    end
    if ok then
        ok, why = finish(lease, head, true)
    end
    if not ok then
        return nil, why
    end
    return { fields = head.fields, istag = (head.fields.istag or {})[1], preview = number(head.fields, "preview", PREVIEW_MAX),
             until_time = internal.now() + (number(head.fields, "options-ttl", TTL_MAX) or TTL_MAX) }
end

local function fetch_offers(ask, place)
    return ask(function(lease)
        local ok, why = lease.stream:write(icap_head("OPTIONS", place, { "Encapsulated: null-body=0" }))
        if not ok then
            return nil, why
        end
        return read_offers(lease)
    end)
end

local function offers_for(ask, server, request, place)
    local by_service = offers_of[server] or {}
    offers_of[server] = by_service
    local offers, why = by_service[request.service], nil
    if not offers or offers.until_time <= internal.now() then
        offers, why = fetch_offers(ask, place)
        by_service[request.service] = offers
    end
    if offers and not holds_word(offers.fields, "methods", request.method) then
        return nil, ("the service does no %s"):format(request.method)
    end
    return offers, why
end

-- Another ISTag: the service is not what it was.
local function note_tag(server, request, offers, result)
    if result.istag and offers.istag and result.istag ~= offers.istag then
        offers_of[server][request.service] = nil
    end
end

-- ---- the dialogue ----

-- The rest, and the answer, at the same time: a server may begin to give back what it got before it has all of it.
local function write_rest(lease, request, from)
    local is_written = false
    local read, failed = async.any{
        function()
            local writer <close>, why = lease.stream:twin()
            local ok = writer ~= nil
            if writer then
                ok, why = write_chunk(writer, request, from, request.size - from + 1, "0\r\n\r\n")
            end
            is_written = ok or false
            return nil, why -- what the server says of it counts
        end,
        function() return { read_answer(lease, request, function() return is_written end) } end,
    }
    return table.unpack(read or { nil, failed }, 1, 2)
end

-- The length of the preview; nil: none is sent.
local function preview_of(request, offers)
    local extension = request.name:match("%.([^.]*)$") or ""
    local is_wanted = request.preview and offers.preview and not holds_word(offers.fields, "transfer-complete", "*") and
        not holds_word(offers.fields, "transfer-complete", extension)
    return is_wanted and offers.preview or nil
end

-- The answer to a preview: that of all, or the wish for the rest.
local function read_wish(lease, request, n)
    local head, why = answer.head(lease.stream, begins(lease))
    if not head then
        return nil, why
    elseif head.status ~= 100 then
        return read_rest(lease, request, head, function() return true end)
    elseif n == request.size then
        return nil, "it asks for a rest that there is not"
    end
    return write_rest(lease, request, n + 1)
end

local function converse(lease, request, place, offers)
    local preview = preview_of(request, offers)
    local ok, why = lease.stream:write(whole_head(request, place, preview))
    if not ok then
        return nil, why
    elseif not preview then
        return write_rest(lease, request, 1)
    end
    local n = math.min(preview, request.size)
    ok, why = write_chunk(lease.stream, request, 1, n, n == request.size and "0; ieof\r\n\r\n" or "0\r\n\r\n")
    if not ok then
        return nil, why
    end
    return read_wish(lease, request, n)
end

---Asks a server; ask: what internal.servers gives for one with kept connections. An answer, or nil and why.
function client.ask(ask, server, request)
    local place = place_of(server, request.service)
    local offers, why = offers_for(ask, server, request, place)
    if not offers then
        return nil, why
    end
    return ask(function(lease)
        local result, why_not = converse(lease, request, place, offers)
        if result then
            note_tag(server, request, offers, result)
        end
        return result, why_not
    end)
end

return client
