-- postern.internal.sql_link: one statement on one connection, opened when there is none; and what may be tried again when it is lost.

local internal = require "postern.internal.sql"
local now = require("postern.internal.backend").now
local places = require "postern.internal.sql_places"
local pool = require "postern.internal.sql_pool"

local link_of = {}

local NOTHING = { n = 0 }
local READ_ONLY = "25006" -- SQLSTATE read_only_sql_transaction
local WHAT_MAX, SERVER_SLACK_MS = 60, 1000

-- For the log of what is waited for: the statement's beginning. Values are no part of it.
local function name_of(db, text)
    local start = text:gsub("%s+", " "):gsub("^ ", ""):sub(1, WHAT_MAX)
    return ("sql %s: %s"):format(db.name, start:gsub("[^ -~]", "?"))
end

---Runs a statement: rows, how many were changed, the first column's name; or nil, why, kind, code. kept: it stays prepared.
function link_of.run(db, link, text, values, finish, kept)
    return link:run{
        text = text, values = values, seconds = math.max(finish - now(), 0), max_rows = db.max_rows, max_bytes = db.max_bytes, keep = kept,
        what = name_of(db, text),
    }
end

-- ---- opening ----

-- The server notices that we have gone, and ends by itself what takes too long, since nobody tells it; servers before version 14 know the
-- one of these only. A pooler's session is not ours to set up.
local SETTINGS = "SELECT set_config(name, CASE name WHEN 'statement_timeout' THEN $1 ELSE '500' END, false) FROM pg_settings"
    .. " WHERE name IN ('statement_timeout', 'client_connection_check_interval')"

local function set_up(db, link, finish)
    if db.pooler then
        return true
    end
    local milliseconds = math.ceil(db.timeout * 1000) + SERVER_SLACK_MS
    return link_of.run(db, link, SETTINGS, { n = 1, tostring(milliseconds) }, finish)
end

local function connect(db, lease, link, finish)
    lease.link = link -- from now on it is closed with the lease, whatever happens
    local seconds = math.min(db.connect_timeout, finish - now())
    local is_open, why, kind = link:connect(math.max(seconds, 0), "sql " .. db.name .. ": to connect")
    if is_open then
        is_open, why, kind = set_up(db, link, finish)
    end
    if is_open then
        return link
    end
    lease:drop()
    return nil, why, kind
end

local function connect_sqlite(db, lease, finish)
    local link, why = internal.sqlite(db.path, db.read_only, db.create)
    if not link then
        return nil, why, "lost"
    end
    lease.link = link
    local is_open, failure, kind = link:connect(math.max(finish - now(), 0), "sql " .. db.name .. ": to open")
    if not is_open then
        lease:drop()
        return nil, failure, kind
    end
    return link
end

-- Hosts and their addresses in turn.
local function connect_postgres(db, lease, finish)
    local why, kind = "timeout", "timeout"
    for _, host in ipairs(db.place.hosts) do
        local list, failure = places.addresses(db.place, host, math.min(db.connect_timeout, finish - now()))
        if not list then
            why, kind = failure, "lost"
        end
        for _, parameters in ipairs(list or {}) do
            if now() >= finish then
                return nil, why, kind
            end
            local link, refused = internal.postgres(parameters, not db.pooler)
            if not link then
                return nil, refused, "lost"
            end
            local is_open
            is_open, why, kind = connect(db, lease, link, finish)
            if is_open then
                return is_open
            end
        end
    end
    return nil, why, kind
end

---For a <close> variable: the lease is closed with it, unless is_over was set. A lease that waits for something has an owner at any time.
function link_of.guard(lease)
    return setmetatable({ is_over = false }, { __close = function(guard)
        if not guard.is_over then
            lease:close()
        end
    end })
end

---A lease with a connection in it, kept or new; or nil, why, kind.
function link_of.lease(db, finish)
    local lease, why = pool.lease(db.pool, finish)
    if not lease then
        return nil, why, "timeout"
    end
    local guard <close> = link_of.guard(lease)
    local link, failure, kind = lease:take_kept()
    if not link then
        link, failure, kind = (db.place and connect_postgres or connect_sqlite)(db, lease, finish)
    end
    if not link then
        return nil, failure, kind
    end
    guard.is_over = true
    return lease
end

-- ---- one statement ----

local function run_alone(db, text, values, finish)
    local lease <close>, why, kind = link_of.lease(db, finish)
    if not lease then
        return nil, why, kind == "lost" and "unreached" or kind
    end
    local rows, affected, first, code = link_of.run(db, lease.link, text, values, finish, true)
    if rows and lease.link:is_in_transaction() then
        return nil, "it begins a transaction, which was rolled back: db:transaction is for that", "statement"
    end
    return rows, affected, first, code
end

-- Within a transaction of the server's that can change nothing: so what was lost on its way is not done twice, even when it turns out to
-- be no reading.
local function run_reading(db, text, values, finish)
    local lease <close>, why, kind = link_of.lease(db, finish)
    if not lease then
        return nil, why, kind
    end
    local begun, failure, kind_of = link_of.run(db, lease.link, "BEGIN READ ONLY", NOTHING, finish)
    if not begun then
        return nil, failure, kind_of
    end
    local rows, affected, first, code = link_of.run(db, lease.link, text, values, finish, true)
    if rows then
        local ended, end_failure, end_kind = link_of.run(db, lease.link, "COMMIT", NOTHING, finish)
        if not ended then
            return nil, end_failure, end_kind
        end
    end
    return rows, affected, first, code
end

---A statement outside of transactions. is_reading: it may be tried again, once, when the connection is lost.
function link_of.ask(db, text, values, is_reading)
    local finish = now() + db.timeout
    local rows, affected, first, code = run_alone(db, text, values, finish)
    if rows or first ~= "lost" or not db.place then
        return rows, affected, first, code
    end
    db.pool:forget() -- the others will be gone as well
    if not is_reading then
        return nil, affected .. "; it may have been done", "lost"
    end
    local again, again_affected, again_first, again_code = run_reading(db, text, values, finish)
    if not again and again_code == READ_ONLY then
        return nil, affected .. "; it may have been done", "lost"
    end
    return again, again_affected, again_first, again_code
end

return link_of
