-- postern.http: requests to web servers.
--
--   local http = require "postern.http"
--   local response, err = http.get("https://reputation.example.org/ip/" .. msg.conn.ip)
--   if response and response.status == 200 and response.body:find("bad") then
--       return reject("your address has a bad reputation")
--   end
--
-- Names are looked up by postern.dns. Connections are kept and used again within a worker. What the world does wrong is nil and a text.

local address = require "postern.internal.address"
local host = require "postern.internal.host"
local internal = require "postern.internal.http"
local system = require "postern.internal.system"

local http = {}

local options = system.options("http")
local now = require("postern.internal.backend").now

local REDIRECTS_MAX, TIME_MAX = 20, 86400
local BODY_MAX, HEADER_MAX = 256 * 1024 * 1024, 1024 * 1024

local METHODS = { GET = true, HEAD = true, POST = true, PUT = true, DELETE = true }
local TYPES = {
    headers = "table", body = "string", timeout = "number", connect_timeout = "number", max_header = "number", max_body = "number",
    redirects = "number", ca_file = "string", verify = "boolean", user = "string", password = "string",
}
local RANGES = {
    timeout = { 0.001, TIME_MAX }, connect_timeout = { 0.001, TIME_MAX }, max_header = { 1, HEADER_MAX }, max_body = { 0, BODY_MAX },
    redirects = { 0, REDIRECTS_MAX },
}
-- What the connection needs is not the caller's to say (RFC 9110, section 7.6.1).
local REFUSED = {
    ["host"] = true, ["content-length"] = true, ["transfer-encoding"] = true, ["connection"] = true, ["keep-alive"] = true, ["te"] = true,
    ["trailer"] = true, ["upgrade"] = true, ["expect"] = true, ["proxy-connection"] = true, ["proxy-authorization"] = true,
}
-- Fields that another server may see when it was redirected to; no others, since any may hold a secret.
local HARMLESS = {
    ["accept"] = true, ["accept-language"] = true, ["content-type"] = true, ["content-language"] = true, ["user-agent"] = true,
}

-- ---- arguments: errors name the filter's line ----

local function check_field(what, name, value)
    if type(name) ~= "string" or not name:find("^[%w!#$%%&'*+.^_`|~-]+$") then
        error(what .. ": a header field has a name", 5)
    elseif REFUSED[name:lower()] then
        error(("%s: %s is not for the caller to say"):format(what, name), 5)
    elseif type(value) ~= "string" or value:find("[\0-\8\10-\31\127]") then
        error(("%s: the value of %s is a text without control characters"):format(what, name), 5)
    end
end

-- A sorted list of { name, value }; a list of values is several fields.
local function check_headers(what, headers)
    local names, fields = {}, {}
    for name, value in pairs(headers or {}) do
        check_field(what, name, "")
        names[#names + 1] = name
        for _, one in ipairs(type(value) == "table" and value or { value }) do
            check_field(what, name, one)
        end
    end
    table.sort(names)
    for _, name in ipairs(names) do
        for _, one in ipairs(type(headers[name]) == "table" and headers[name] or { headers[name] }) do
            fields[#fields + 1] = { name, one }
        end
    end
    return fields
end

local function check_option(what, name, value)
    local range = RANGES[name]
    if not TYPES[name] then
        error(("%s: there is no option '%s'"):format(what, tostring(name)), 4)
    elseif type(value) ~= TYPES[name] then
        error(("%s: %s is a %s"):format(what, name, TYPES[name]), 4)
    elseif range and not (value >= range[1] and value <= range[2]) then
        error(("%s: %s is a number from %s to %s"):format(what, name, range[1], range[2]), 4)
    end
end

local function check(what, method, url, given)
    if type(url) ~= "string" then
        error(what .. ": the address is a string", 3)
    elseif not METHODS[method] then
        error(what .. ": the method is GET, HEAD, POST, PUT or DELETE", 3)
    elseif given ~= nil and type(given) ~= "table" then
        error(what .. ": options is a table", 3)
    end
    local request = {
        method = method, timeout = options.timeout, connect_timeout = options.connect_timeout, max_header = options.max_header,
        max_body = options.max_body, redirects = 0, ca_file = options.ca_file ~= "" and options.ca_file or nil, verify = true,
    }
    for name, value in pairs(given or {}) do
        check_option(what, name, value)
        request[name] = value
    end
    if request.body and (method == "GET" or method == "HEAD") then
        error(what .. ": such a request has no body", 3)
    end
    request.fields = check_headers(what, request.headers)
    return request
end

-- ---- addresses ----

local function read_url(text, base)
    if text:find("[^!-~]") then
        return nil, "bad address: characters that are none of a URL"
    end
    local url = internal.url(text, base)
    if not url then
        return nil, "bad address: no URL of http or https, or it has a user"
    end
    return url
end

local function look_up(name, left)
    local list, err = host.addresses(name, left)
    if not list then
        return nil, err == "timeout" and err or "dns: " .. (err or "the name has no address")
    end
    for i, ip in ipairs(list) do
        list[i] = ip:find(":", 1, true) and "[" .. ip .. "]" or ip
    end
    return list
end

-- For libcurl; its entries end by themselves. nil when the host is an address.
local function resolve(url, left)
    if address.bytes(url.host) then
        return nil
    end
    local list, err = look_up(url.host, left)
    return list and ("+%s:%d:%s"):format(url.host, url.port, table.concat(list, ",")) or nil, err
end

-- ---- one request ----

-- Lines for libcurl. A field that it would add by itself is taken out by an empty one.
local function header_lines(request)
    local lines, given = { "Expect:" }, {}
    for i, field in ipairs(request.fields) do
        given[field[1]:lower()] = true
        lines[i + 1] = field[2]:find("%S") and field[1] .. ": " .. field[2] or field[1] .. ";"
    end
    if not given["user-agent"] then
        lines[#lines + 1] = "User-Agent: Postern"
    end
    if request.body and not given["content-type"] then
        lines[#lines + 1] = "Content-Type:"
    end
    return lines
end

local function milliseconds(seconds)
    return math.max(1, math.ceil(seconds * 1000))
end

-- Status, header and body; or nil and why.
local function send(request, url, finish)
    local entry, err = resolve(url, finish - now())
    if err then
        return nil, err
    end
    local left = finish - now()
    if left <= 0 then
        return nil, "timeout"
    end
    local transfer <close>, why = internal.begin{
        method = request.method, url = url.text, resolve = entry, headers = header_lines(request), body = request.body,
        ca_file = request.ca_file, user = request.user, password = request.password, verify = request.verify,
        connect_ms = milliseconds(math.min(request.connect_timeout, left)), time_ms = milliseconds(left),
        max_header = math.floor(request.max_header), max_body = math.floor(request.max_body),
    }
    if not transfer then
        return nil, why
    end
    return transfer:wait(("http %s %s"):format(request.method, url.host))
end

-- Names in lower case; fields of the same name joined (RFC 9110, section 5.3).
local function read_header(text)
    local lists, last = {}, nil
    for line in text:gmatch("[^\r\n]+") do
        local name, value = line:match("^([^:%s]+)[ \t]*:[ \t]*(.-)[ \t]*$")
        if name then
            last = lists[name:lower()] or {}
            lists[name:lower()] = last
            last[#last + 1] = value
        elseif last and line:find("^[ \t]") then
            last[#last + 1] = line:match("^%s*(.-)%s*$")
        end
    end
    local headers = {}
    for name, list in pairs(lists) do
        local joined = table.concat(list, ", ")
        headers[name] = utf8.len(joined) and joined or joined:gsub("[\128-\255]", "\u{FFFD}")
    end
    return headers
end

-- ---- redirects ----

local REDIRECT = { [301] = true, [302] = true, [303] = true, [307] = true, [308] = true }

local function is_same_origin(a, b)
    return a.https == b.https and a.host == b.host and a.port == b.port
end

-- What is asked where the answer leads (RFC 9110, section 15.4).
local function follow(request, from, to, status)
    local is_get = status == 303 and request.method ~= "HEAD" or (status == 301 or status == 302) and request.method == "POST"
    local fields = {}
    for _, field in ipairs(request.fields) do
        local name = field[1]:lower()
        local is_of_body = name:find("^content%-")
        if (is_same_origin(from, to) or HARMLESS[name]) and not (is_get and is_of_body) then
            fields[#fields + 1] = field
        end
    end
    local next_request = {}
    for name, value in pairs(request) do
        next_request[name] = value
    end
    next_request.fields = fields
    if is_get then
        next_request.method, next_request.body = "GET", nil
    end
    if not is_same_origin(from, to) then
        next_request.user, next_request.password = nil, nil
    end
    return next_request
end

local function next_url(url, location)
    local to = read_url(location, url.text)
    if not to then
        return nil, "bad redirect"
    elseif url.https and not to.https then
        return nil, "redirect from https to http"
    end
    return to
end

local function perform(request, text)
    local finish = now() + request.timeout
    local url, err = read_url(text)
    for n = 0, request.redirects do
        if not url then
            return nil, err
        end
        local status, header, body = send(request, url, finish)
        if not status then
            return nil, header
        end
        local headers = read_header(header)
        if request.redirects == 0 or not REDIRECT[status] or not headers.location then
            return { status = status, headers = headers, body = body, url = url.text, redirects = n }
        end
        local to
        to, err = next_url(url, headers.location)
        request = to and follow(request, url, to, status) or request
        url = to
    end
    return nil, url and "too many redirects" or err
end

-- ---- the module ----

---Asks a web server: { status =, headers =, body =, url =, redirects = }, whatever the status; or nil and why there is no answer.
function http.request(method, url, given)
    return perform(check("http.request", method, url, given), url)
end

function http.get(url, given)
    return perform(check("http.get", "GET", url, given), url)
end

function http.head(url, given)
    return perform(check("http.head", "HEAD", url, given), url)
end

function http.delete(url, given)
    return perform(check("http.delete", "DELETE", url, given), url)
end

local function with_body(what, method, url, body, given)
    local request = check(what, method, url, given)
    if type(body) ~= "string" then
        error(what .. ": the body is a string", 2)
    end
    request.body = body
    return perform(request, url)
end

function http.post(url, body, given)
    return with_body("http.post", "POST", url, body, given)
end

function http.put(url, body, given)
    return with_body("http.put", "PUT", url, body, given)
end

return http
