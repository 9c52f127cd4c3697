-- postern.internal.icap_answer: reads answers of ICAP servers (RFC 3507), held to what they say. Every length is bounded, every section is
-- as long as Encapsulated says, and what is malformed is nil and why.

local answer = {}

local LINE_MAX, LINES_MAX = 8192, 200 -- of the header
local SECTIONS_MAX = 65536 -- bytes of the encapsulated headers
local CHUNK_LINE_MAX, TRAILERS_MAX = 1000, 32
local CHUNK_DIGITS, PIECE, TEXT_MAX = 8, 16384, 100

-- What an answer may hold, in this order (section 4.4.1).
local FORMS = {
    ["res-hdr,res-body"] = true, ["res-hdr,null-body"] = true, ["res-body"] = true, ["null-body"] = true,
    ["req-hdr,req-body"] = true, ["req-hdr,null-body"] = true, ["req-body"] = true, ["opt-body"] = true,
}

-- Of a line for people: printable ASCII.
local function clean(text)
    return (text:gsub("[^ -~]", "?"):sub(1, TEXT_MAX):gsub(" +$", ""))
end

-- ---- the header ----

local function add_field(head, line)
    if line:find("[\0-\8\10-\31\127]") then
        return nil, "the header of the answer is malformed"
    elseif line:find("^[ \t]") then
        if not head.last then
            return nil, "the header of the answer is malformed"
        end
        head.last[#head.last] = head.last[#head.last] .. "\n" .. line:match("^%s*(.-)%s*$")
        return true
    end
    local name, value = line:match("^([%w!#$%%&'*+.^_`|~-]+):[ \t]*(.-)[ \t]*$")
    if not name then
        return nil, "the header of the answer is malformed"
    end
    head.last = head.fields[name:lower()] or {}
    head.fields[name:lower()] = head.last
    head.last[#head.last + 1] = value
    return true
end

---The one value of a field; nil: there is none. nil and why: there are several.
function answer.single(fields, name)
    local list = fields[name]
    if list and #list > 1 then
        return nil, ("the answer has several fields %s"):format(name)
    end
    return list and list[1]
end

-- A number of sections and where they begin: names in order, lengths of the headers before the body.
local function read_encapsulated(text)
    local names, offsets = {}, {}
    for item in (text .. ","):gmatch("([^,]*),") do
        local name, digits = item:match("^%s*([%a-]+)=(%d+)%s*$")
        local offset = digits and #digits <= CHUNK_DIGITS and tonumber(digits)
        local before = offsets[#offsets]
        if not offset or before and offset <= before or not before and offset ~= 0 or #names >= 2 then
            return nil, "Encapsulated is malformed"
        end
        names[#names + 1], offsets[#offsets + 1] = name:lower(), offset
    end
    if not FORMS[table.concat(names, ",")] then
        return nil, "Encapsulated is malformed"
    elseif offsets[#offsets] > SECTIONS_MAX then
        return nil, "too long"
    end
    return { header = #names == 2 and names[1] or nil, header_size = offsets[#offsets], body = names[#names] }
end

---The status line and the header: status, text, fields (lists of values by names in lower case; lines of one are separated by LF), and
-- encapsulated (header, header_size, body), nil when it is not told. on_begin is called when an answer begins.
function answer.head(stream, on_begin)
    local line, why = stream:read_line(LINE_MAX)
    if not line then
        return nil, why
    end
    on_begin()
    local status, text = (line .. " "):match("^ICAP/1%.%d ([1-5]%d%d) ([^%c]*)$")
    if not status then
        return nil, "this is no answer of an ICAP server"
    end
    local head = { status = math.tointeger(tonumber(status)), text = clean(text), fields = {} }
    for _ = 1, LINES_MAX do
        line, why = stream:read_line(LINE_MAX)
        if line == "" then
            local encapsulated
            encapsulated, why = answer.single(head.fields, "encapsulated")
            if encapsulated then
                head.encapsulated, why = read_encapsulated(encapsulated)
            end
            return not why and head or nil, why
        end
        local is_good = line
        if line then
            is_good, why = add_field(head, line)
        end
        if not is_good then
            return nil, why
        end
    end
    return nil, "too long"
end

-- ---- what is encapsulated ----

---The first line of the HTTP header in it; "" when there is none.
function answer.http_line(stream, encapsulated)
    if not encapsulated.header then
        return ""
    end
    local bytes, why = stream:read(encapsulated.header_size)
    if not bytes then
        return nil, why
    elseif bytes:find("\r\n\r\n", 1, true) ~= #bytes - 3 then
        return nil, "an encapsulated header does not end where Encapsulated says"
    end
    return clean(bytes:match("^[^\r]*"))
end

local function read_chunk_size(stream)
    local line, why = stream:read_line(CHUNK_LINE_MAX)
    if not line then
        return nil, why
    end
    local digits = line:match("^(%x+)[ \t]*$") or line:match("^(%x+)[ \t]*;")
    if not digits or #digits > CHUNK_DIGITS then
        return nil, "the size of a chunk is malformed"
    end
    return tonumber(digits, 16)
end

local function read_chunk(stream, size, take)
    while size > 0 do
        local piece, why = stream:read(math.min(size, PIECE))
        if not piece then
            return nil, why
        end
        size = size - #piece
        take(piece)
    end
    local ending, why = stream:read(2)
    if ending and ending ~= "\r\n" then
        return nil, "a chunk does not end where its size says"
    end
    return ending, why
end

local function read_trailers(stream)
    for _ = 1, TRAILERS_MAX do
        local line, why = stream:read_line(LINE_MAX)
        if line == "" then
            return true
        elseif not line or not line:find("^[%w-]+:") then
            return nil, why or "the end of the answer is malformed"
        end
    end
    return nil, "too long"
end

---Reads a chunked body (RFC 9112, section 7.1), at most max bytes; take(piece) gets them as they come. True; nil and why.
function answer.body(stream, max, take)
    local total = 0
    while true do
        local size, why = read_chunk_size(stream)
        if not size then
            return nil, why
        elseif size == 0 then
            return read_trailers(stream)
        end
        total = total + size
        if total > max then
            return nil, "too long"
        end
        local is_good
        is_good, why = read_chunk(stream, size, take)
        if not is_good then
            return nil, why
        end
    end
end

-- ---- what it found ----

local function add_name(names, name)
    names[#names + 1] = name
    return true
end

-- "Type=0; Resolution=2; Threat=Eicar;"
local function read_infection(names, text)
    local values = {}
    for key, value in text:gmatch("(%a+)=([^;\n]*)") do
        values[key:lower()] = value:match("^%s*(.-)%s*$")
    end
    return (values.type or ""):find("^%d+$") and (values.threat or "") ~= "" and add_name(names, values.threat)
end

-- What some call clean by name is none.
local function read_virus(names, text)
    if text == "" then
        return false
    end
    return text:lower() == "no threats" or add_name(names, (text:gsub("\n", " ")))
end

-- How many, and for each four lines: where, what, and two numbers.
local function read_violations(names, text)
    local lines = {}
    for line in (text .. "\n"):gmatch("([^\n]*)\n") do
        lines[#lines + 1] = line
    end
    local n = lines[1]:match("^%d%d?%d?$") and tonumber(lines[1])
    if not n or #lines ~= 1 + 4 * n then
        return false
    end
    for i = 1, n do
        local name = lines[4 * i - 1]
        add_name(names, name ~= "" and name or "unnamed")
    end
    return true
end

local FOUND = {
    { "x-infection-found", read_infection }, { "x-virus-id", read_virus }, { "x-violations-found", read_violations },
}

---The names of what an answer says was found, in the order of FOUND, each once; nil and why when a field for it is malformed.
function answer.found(fields)
    local names, list, is_there = {}, {}, {}
    for _, kind in ipairs(FOUND) do
        for _, text in ipairs(fields[kind[1]] or {}) do
            if not kind[2](names, text) then
                return nil, ("%s is malformed"):format(kind[1])
            end
        end
    end
    for _, name in ipairs(names) do
        if not is_there[name] then
            is_there[name], list[#list + 1] = true, name
        end
    end
    return list
end

return answer
