-- postern.icap: asks a scanner that speaks ICAP (RFC 3507) whether a message or a part is infected.
--
--   local icap = require "postern.icap"
--   function filter_message(msg)
--       local scanned = icap.scan(msg)
--       if scanned.status == "infected" then
--           return reject("this mail carries " .. scanned.name)
--       end
--   end
--
-- Clean is what the server lets through as it is, in one whole answer that names nothing. What it changes or withholds it does not let
-- through: infected too, and modified says so. Whatever else comes, or does not, is a failure.

local backends = require "postern.internal.backends"
local client = require "postern.internal.icap_client"
local kept = require "postern.internal.kept"
local servers = require "postern.internal.servers"
local system = require "postern.internal.system"

local icap = {}

local NAME_MAX, NAMES_MAX = 100, 100
local options = system.options("icap")
local pool = servers.new{ section = "icap", sockets = options.sockets, connect_timeout = options.connect_timeout, timeout = options.timeout,
                          kept = kept.new{ most = options.idle_connections, seconds = options.idle_time } }
local METHODS = { respmod = "RESPMOD", reqmod = "REQMOD" }
local POLICIES = { tempfail = true, continue = true, ["return"] = true }

-- ---- arguments ----

local function is_service(text)
    return #text <= 200 and text:find("^[%w._~/?=&%%+:@,;-]+$") ~= nil
end

local checks = {
    service = { is_service, "is the path of an icap:// address, at most 200 bytes" },
    method = { function(text) return METHODS[text] ~= nil end, "is respmod or reqmod" },
    name = { function(text) return text ~= "" end, "is the name of a file" },
    on_failure = { function(text) return POLICIES[text] ~= nil end, "is tempfail, continue or return" },
}

for _, name in ipairs{ "service", "method" } do
    if not checks[name][1](options[name]) then
        error(("icap.%s %s"):format(name, checks[name][2]), 0)
    end
end

local function check_options(given)
    if given ~= nil and type(given) ~= "table" then
        error("icap.scan: options is a table", 3)
    end
    for name, value in pairs(given or {}) do
        local check = checks[name]
        if not check then
            error(("icap.scan: there is no option '%s'"):format(tostring(name)), 3)
        elseif type(value) ~= "string" or not check[1](value) then
            error(("icap.scan: %s %s"):format(name, check[2]), 3)
        end
    end
    return given or {}
end

-- ---- what is asked ----

-- Its end, since that tells what it is.
local function name_of(kind, content)
    local name = kind == "msg" and "mail.eml" or content.filename or "part-" .. content.path
    return name:sub(-NAME_MAX)
end

local function type_of(kind, content)
    local type = kind == "msg" and "message/rfc822" or content.type
    return type:find("^[%w!#$&^_.+-]+/[%w!#$&^_.+-]+$") and type or "application/octet-stream"
end

local function request_of(kind, content, size, msg, given)
    return {
        content = content, size = size, name = given.name and given.name:sub(-NAME_MAX) or name_of(kind, content), type = type_of(kind, content),
        service = (given.service or options.service):gsub("^/+", ""), method = METHODS[given.method or options.method],
        preview = options.preview, ip = msg and msg.conn.ip,
    }
end

-- ---- what it says ----

local function judge(answer)
    if #answer.found == 0 and answer.is_same then
        return { status = "clean" }
    end
    local names = {}
    for i = 1, math.min(#answer.found, NAMES_MAX) do
        names[i] = backends.name(answer.found[i])
    end
    local result = { status = "infected", modified = not answer.is_same, threats = names }
    if result.modified then
        local is_refused = answer.http ~= "" and not answer.http:find("^HTTP/1%.%d 200")
        result.reason = is_refused and backends.name(answer.http) or "another content came back"
    end
    result.name = names[1] or ("unnamed (%s)"):format(result.reason)
    return result
end

---Asks about a message as received, or about the decoded content of a part. options: service, method, on_failure, in place of those of the
-- configuration; name, of a file, in place of its own.
-- A table: status "clean"; "infected", with name, threats (all names), modified (whether the server changed or withheld it) and then reason;
-- "skipped" (larger than icap.max_size) or "unscanned" (on_failure = continue), both with error. Nil and why with on_failure = return.
function icap.scan(content, given)
    local kind, size = backends.content("icap.scan", content)
    given = check_options(given)
    local msg = kind == "msg" and content or backends.message()
    if kind and size > options.max_size then
        return backends.skip("icap", ("%d bytes are more than icap.max_size"):format(size), msg)
    end
    local service = given.service or options.service
    return backends.call("icap", function()
        if not kind then
            return nil, size
        end
        local request = request_of(kind, content, size, msg, given)
        local answer, why = servers.try(pool, function(ask, server) return client.ask(ask, server, request) end)
        return answer and judge(answer), why
    end, { msg = msg, content = content, request = { service = service }, on_failure = given.on_failure or options.on_failure })
end

return icap
