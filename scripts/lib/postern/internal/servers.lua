-- postern.internal.servers: the servers of a scanner as its section of the configuration lists them, asked in turn.
--
--   local pool = servers.new{ section = "clamav", sockets = "unix:/run/clamav/clamd.ctl, inet:3310@192.0.2.7", connect_timeout = 5, timeout = 60 }
--   local result, why = servers.try(pool, function(stream, server) … return result   or   return nil, "why" … end)
--
-- One that failed is asked last until retry_time is over, so that a dead first one costs its time-out once and not for each mail. That is
-- known to this worker alone.

local address = require "postern.internal.address"
local backends = require "postern.internal.backends"
local internal = require "postern.internal.backend"
local net = require "postern.internal.net"

local servers = {}

local PATH_MAX, SERVERS_MAX = 107, 16

local function parse_inet(text)
    local port, host = text:match("^inet6?:(%d+)@(.+)$")
    if not port then
        return nil
    end
    host = host:match("^%[(.*)%]$") or host
    port = #port <= 5 and tonumber(port) or 0
    if port < 1 or port > 65535 or not address.bytes(host) then
        return nil
    end
    return { address = host, port = port }
end

local function parse_one(text)
    local path = text:match("^unix:(.+)$") or text:match("^/.+$")
    if path then
        return #path <= PATH_MAX and { path = path } or nil
    end
    return parse_inet(text)
end

local function parse(option, text)
    local list = {}
    for word in text:gmatch("[^%s,]+") do
        local server = parse_one(word)
        if not server then
            error(("%s: '%s' is none of unix:PATH, inet:PORT@ADDRESS, inet6:PORT@ADDRESS"):format(option, word), 0)
        end
        server.name, server.bad_until = word, 0
        list[#list + 1] = server
    end
    if #list == 0 or #list > SERVERS_MAX then
        error(("%s names 1 to %d servers"):format(option, SERVERS_MAX), 0)
    end
    return list
end

---The servers of a section, out of its options. Raises when sockets does not list unix:PATH, inet:PORT@ADDRESS or inet6:PORT@ADDRESS,
-- separated by commas or blanks. connect_timeout, timeout: in seconds, for each server. kept: connections are used again (internal.kept).
function servers.new(pool)
    pool.list = parse(pool.section .. ".sockets", pool.sockets)
    return pool
end

-- In the order of the list, those that failed lately behind the others.
local function in_turn(list)
    local now, good, bad = internal.now(), {}, {}
    for _, server in ipairs(list) do
        local to = server.bad_until > now and bad or good
        to[#to + 1] = server
    end
    return table.move(bad, 1, #bad, #good + 1, good)
end

local function connect(pool, server)
    local stream, why = net.connect{ path = server.path, address = server.address, port = server.port,
                                     timeout = pool.connect_timeout, what = pool.section .. " at " .. server.name }
    if stream then
        stream:timeout(pool.timeout)
    end
    return stream, why
end

local function ask(pool, server, f)
    if pool.kept then
        return f(function(question)
            return pool.kept:ask(server, pool.timeout, function() return connect(pool, server) end, question)
        end, server)
    end
    local stream <close>, why = connect(pool, server)
    if not stream then
        return nil, why
    end
    return f(stream, server)
end

-- The same, and remembers whether it failed: also when its task was out of time while the server hung.
local function try_one(pool, server, f)
    local result, why
    local is_answered, finish = false, internal.finish()
    local _ <close> = setmetatable({}, { __close = function(_, err)
        if is_answered or not backends.was_cancelled(err, finish) then
            server.bad_until = result ~= nil and 0 or internal.now() + internal.option(pool.section, "retry_time")
        end
    end })
    result, why = ask(pool, server, f)
    is_answered = true
    return result, why
end

---What f gives for the first server with which it gives something; else nil and what each of them did wrong.
-- f(stream, server): with a connection that closes by itself; server.path is nil with TCP. With kept, f(ask, server): ask(question) gives
-- what question(lease) gives, see internal.kept.
function servers.try(pool, f)
    local failures = {}
    for _, server in ipairs(in_turn(pool.list)) do
        local result, why = try_one(pool, server, f)
        if result ~= nil then
            return result
        end
        failures[#failures + 1] = ("%s: %s"):format(server.name, why or "no answer")
    end
    return nil, table.concat(failures, "; ")
end

return servers
