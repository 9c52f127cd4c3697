-- postern.internal.kept: connections that are kept for the next question to the same server, within a worker.
--
--   local store = kept.new{ most = 1, seconds = 10 }
--   local result, why = store:ask(server, timeout, connect, function(lease) … return result   or   return nil, "why" … end)
--
-- The question says what is true of lease.stream: lease.is_answered, as soon as an answer has begun; lease.is_good, when the next question
-- may follow on it. A server may end what nobody uses, and we learn it when we write: a question that got no byte of an answer on a kept
-- connection is asked once more on a new one.

local now = require("postern.internal.backend").now

local kept = {}

local Lease = {}
Lease.__index = Lease

-- Also when a task was cancelled, or raised: is_good was not said then.
Lease.__close = function(lease)
    if lease.is_good and lease.stream:rest() == "idle" then
        lease.store:put(lease.server, lease.stream)
    else
        lease.stream:close()
    end
end

local Kept = {}
Kept.__index = Kept

---most: how many connections to each server; seconds: how long one may have been idle when it is used again.
function kept.new(options)
    return setmetatable({ most = options.most, seconds = options.seconds, lists = setmetatable({}, { __mode = "k" }) }, Kept)
end

function Kept:lease(server, stream)
    return setmetatable({ store = self, server = server, stream = stream, is_answered = false, is_good = false }, Lease)
end

-- The oldest stand first.
function Kept:put(server, stream)
    local list = self.lists[server] or {}
    self.lists[server] = list
    list[#list + 1] = { stream = stream, until_time = now() + self.seconds }
    while #list > self.most do
        table.remove(list, 1).stream:close()
    end
end

-- The one that was used last; what is too old, or has ended, or on which something came that nobody asked for, is closed.
function Kept:take(server)
    local list = self.lists[server] or {}
    while list[1] and list[1].until_time <= now() do
        table.remove(list, 1).stream:close()
    end
    while #list > 0 do
        local stream = table.remove(list).stream
        if stream:rest() == "idle" then
            return self:lease(server, stream)
        end
        stream:close()
    end
    return nil
end

---Asks on a kept connection, or a new one that connect gives. timeout: seconds for question and answer.
function Kept:ask(server, timeout, connect, question)
    local old <close> = self:take(server)
    if old then
        old.stream:timeout(timeout)
        local result, why = question(old)
        if result ~= nil or old.is_answered or why ~= "closed" then
            return result, why
        end
    end
    local stream, why = connect()
    if not stream then
        return nil, why
    end
    local new <close> = self:lease(server, stream)
    return question(new)
end

return kept
