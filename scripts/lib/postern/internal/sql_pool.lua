-- postern.internal.sql_pool: the connections of one data base in a worker. A lease is the right to one; so many are given out at a time,
-- and who comes then waits for its turn. A connection that is idle when its lease is closed is kept for the next; any other is closed,
-- and what was open in it rolled back by the data base.

local internal = require "postern.internal.sql"
local now = require("postern.internal.backend").now

local pool_of, Pool, Lease = {}, {}, {}
Pool.__index, Lease.__index = Pool, Lease

---size: leases at a time. idle_time: seconds. name: of the data base, in logs.
function pool_of.new(name, size, idle_time)
    return setmetatable({ name = name, size = size, idle_time = idle_time, n_leases = 0, idle = {}, queue = {} }, Pool)
end

local function wake_next(pool)
    if pool.n_leases < pool.size and #pool.queue > 0 then
        table.remove(pool.queue, 1):wake()
    end
end

-- True when there may be room; false when the time is over.
local function wait_for_room(pool, seconds)
    local gate = internal.gate()
    table.insert(pool.queue, gate)
    local is_woken = false
    local _ <close> = setmetatable({}, { __close = function()
        if is_woken then
            return
        end
        for i, one in ipairs(pool.queue) do
            if one == gate then
                table.remove(pool.queue, i)
                return
            end
        end
        wake_next(pool) -- it was to be next, and comes no more
    end })
    is_woken = gate:wait(math.max(seconds, 0), "sql " .. pool.name .. ": a connection")
    return is_woken
end

---A lease, to be put into a <close> variable; or nil and why. finish: by internal.now().
function pool_of.lease(pool, finish)
    while pool.n_leases >= pool.size do
        if not wait_for_room(pool, finish - now()) then
            return nil, ("timeout: all %d connections are in use"):format(pool.size)
        end
    end
    pool.n_leases = pool.n_leases + 1
    return setmetatable({ pool = pool }, Lease)
end

---Closes what is kept: its server was seen to go.
function Pool:forget()
    for _, kept in ipairs(self.idle) do
        kept.link:close()
    end
    self.idle = {}
end

---A connection that was kept and can be used, in lease.link; or nil.
function Lease:take_kept()
    local idle = self.pool.idle
    while #idle > 0 do
        local kept = table.remove(idle)
        if kept.link:is_idle() and now() - kept.since <= self.pool.idle_time then
            self.link = kept.link
            return kept.link
        end
        kept.link:close()
    end
    return nil
end

function Lease:drop()
    if self.link then
        self.link:close()
        self.link = nil
    end
end

function Lease:close()
    local pool, link = self.pool, self.link
    if self.is_over then
        return
    end
    self.is_over, self.link = true, nil
    if link and link:is_idle() then
        table.insert(pool.idle, { link = link, since = now() })
    elseif link then
        link:close()
    end
    pool.n_leases = pool.n_leases - 1
    wake_next(pool)
end

Lease.__close = Lease.close

return pool_of
