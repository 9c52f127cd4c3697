-- postern.clamav: asks clamd whether a message or a part is infected (clamd(8), its commands INSTREAM and FILDES).
--
--   local clamav = require "postern.clamav"
--   function filter_message(msg)
--       local scanned = clamav.scan(msg)
--       if scanned.status == "infected" then
--           return reject("this mail carries " .. scanned.name)
--       end
--   end
--
-- Clean is what clamd calls so in one whole line and nothing besides. Whatever else comes, or does not, is a failure.

local backends = require "postern.internal.backends"
local servers = require "postern.internal.servers"
local system = require "postern.internal.system"

local clamav = {}

local ANSWER_MAX = 2048
local options = system.options("clamav")
local pool = servers.new{ section = "clamav", sockets = options.sockets, connect_timeout = options.connect_timeout,
                          timeout = options.timeout }

-- A result, or nil and why the answer is none. prefix: what clamd calls the thing that it looked at.
local function judge(answer, prefix)
    local verdict = answer:match("^" .. prefix .. ": ([^\n]*)\n$")
    if verdict == "OK" then
        return { status = "clean" }
    end
    local name = verdict and verdict:match("^(%S.*) FOUND$")
    if name then
        return { status = "infected", name = backends.name(name) }
    end
    return nil, ("clamd says %q"):format(backends.name(answer:gsub("%s+$", "")))
end

-- The whole in one chunk: clamd writes down what comes, however it is cut.
local function send_stream(stream, content, size)
    local ok, why = stream:write("nINSTREAM\n" .. (size > 0 and string.pack(">I4", size) or ""))
    if ok and size > 0 then
        ok, why = stream:write(content)
    end
    if ok then
        ok, why = stream:write("\0\0\0\0")
    end
    return ok, why
end

local function send_descriptor(stream, content)
    local ok, why = stream:write("nFILDES\n")
    if ok then
        ok, why = stream:send_memory(content)
    end
    return ok, why
end

local function ask(stream, server, content, size)
    local is_descriptor = options.descriptors and server.path ~= nil
    local send = is_descriptor and send_descriptor or send_stream
    local ok, why = send(stream, content, size)
    if not ok then
        return nil, why
    end
    local answer
    answer, why = stream:read_end(ANSWER_MAX) -- clamd closes behind its answer
    if not answer then
        return nil, why
    end
    return judge(answer, is_descriptor and "fd%[%d+%]" or "stream")
end

local function scan_whole(content, size)
    return servers.try(pool, function(stream, server) return ask(stream, server, content, size) end)
end

---Asks clamd about a message as received, or about the decoded content of a part.
-- A table: status "clean"; "infected", with name; "skipped" (larger than clamav.max_size) or "unscanned" (clamav.on_failure = continue), both
-- with error. Nil and why with clamav.on_failure = return.
function clamav.scan(content)
    local kind, size = backends.content("clamav.scan", content)
    local msg = kind == "msg" and content or backends.message()
    if kind and size > options.max_size then
        return backends.skip("clamav", ("%d bytes are more than clamav.max_size"):format(size), msg)
    end
    return backends.call("clamav", function()
        if not kind then
            return nil, size
        end
        return scan_whole(content, size)
    end, { msg = msg, content = content, on_failure = options.on_failure })
end

return clamav
