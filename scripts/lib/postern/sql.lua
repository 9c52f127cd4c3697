-- postern.sql: data bases, SQLite and PostgreSQL.
--
--   local sql = require "postern.sql"
--   local db = sql.open{ postgres = "host=db.example.org dbname=mail user=postern password_file=/etc/postern/db.secret" }
--   local owner, err = db:value("SELECT owner FROM mailbox WHERE address = $1", rcpt.address)
--
-- A value is never part of a statement's text: it is a parameter, $1, $2 … What the world does wrong is nil and a text. Connections are
-- opened at the first question and kept, in each worker its own.

local backends = require "postern.internal.backends"
local internal = require "postern.internal.sql"
local link = require "postern.internal.sql_link"
local now = require("postern.internal.backend").now
local places = require "postern.internal.sql_places"
local pool = require "postern.internal.sql_pool"
local system = require "postern.internal.system"

local sql = {}

local options = system.options("sql")

local Database, Transaction, Blob = {}, {}, {}
Database.__index, Transaction.__index, Database.__name, Transaction.__name = Database, Transaction, "postern.sql", "postern.sql_transaction"
Database.__metatable, Transaction.__metatable, Blob.__metatable = false, false, false

local TEXT_MAX, PARAMETERS_MAX, NAME_MAX, TIME_MAX = 65536, 1000, 80, 3600
local NOTHING = { n = 0 }

local TYPES = {
    sqlite = "string", name = "string", on_failure = "string", timeout = "number", connect_timeout = "number", idle_time = "number",
    connections = "number", max_rows = "number", max_bytes = "number", read_only = "boolean", create = "boolean", pooler = "boolean",
}
local RANGES = {
    timeout = { 0.001, TIME_MAX }, connect_timeout = { 0.001, TIME_MAX }, idle_time = { 0, 86400 }, connections = { 1, 100 },
    max_rows = { 1, 10000000 }, max_bytes = { 1, 256 * 1024 * 1024 },
}
local WHOLE = { connections = true, max_rows = true, max_bytes = true }
local ONLY_FOR = { read_only = "sqlite", create = "sqlite", pooler = "postgres" }

-- ---- arguments: errors name the filter's line ----

local function check_option(name, value)
    local range = RANGES[name]
    if not TYPES[name] then
        error(("sql.open: there is no option '%s'"):format(tostring(name)), 4)
    elseif type(value) ~= TYPES[name] then
        error(("sql.open: %s is a %s"):format(name, TYPES[name]), 4)
    elseif range and not (value >= range[1] and value <= range[2]) or WHOLE[name] and value % 1 ~= 0 then
        error(("sql.open: %s is a number from %s to %s"):format(name, range[1], range[2]), 4)
    end
end

local function check_open(given)
    if type(given) ~= "table" then
        error("sql.open: a table expected, such as { sqlite = \"/var/lib/postern/mail.db\" }", 3)
    end
    local is_text = type(given.postgres) == "string" or type(given.postgres) == "table"
    if (given.sqlite == nil) == (given.postgres == nil) or given.postgres ~= nil and not is_text then
        error("sql.open: sqlite = a path, or postgres = a connection string or a table", 3)
    end
    for name, value in pairs(given) do
        if name ~= "postgres" then
            check_option(name, value)
        end
        if ONLY_FOR[name] and given[ONLY_FOR[name]] == nil then
            error(("sql.open: %s is for %s"):format(name, ONLY_FOR[name]), 3)
        end
    end
    if given.sqlite and (given.sqlite:sub(1, 1) ~= "/" or given.sqlite:find("\0", 1, true)) then
        error("sql.open: sqlite is the path of a file, from / on", 3)
    elseif given.on_failure and given.on_failure ~= "return" and given.on_failure ~= "tempfail" then
        error("sql.open: on_failure is return or tempfail", 3)
    elseif given.name and not given.name:find("^[ -~]+$") then
        error("sql.open: name is printable", 3)
    end
end

local VALUES = { ["nil"] = true, boolean = true, number = true, string = true }

local function check_statement(what, text, values, level)
    if type(text) ~= "string" or text == "" or #text > TEXT_MAX or text:find("\0", 1, true) then
        error(("%s: the statement is a text of up to %d bytes"):format(what, TEXT_MAX), level + 1)
    elseif values.n > PARAMETERS_MAX then
        error(("%s: at most %d parameters"):format(what, PARAMETERS_MAX), level + 1)
    end
    for i = 1, values.n do
        if not VALUES[type(values[i])] and not (type(values[i]) == "table" and type(rawget(values[i], "blob")) == "string") then
            error(("%s: parameter %d is a %s; values are texts, numbers, booleans, nil and sql.blob"):format(what, i, type(values[i])),
                level + 1)
        end
    end
end

-- ---- asking ----

local function policy(db)
    local word = db.on_failure or options.on_failure
    word = word == "backend" and require("postern.internal.backend").option("backend", "on_failure") or word
    return word == "tempfail" and "tempfail" or "return"
end

-- Calls the data base, or the fake of a test. f: rows, changed, first; or nil, why, kind, code. Refused statements are answers; what is
-- lost or late is a failure.
local function call(db, request, f)
    request.database = db.name
    local result, failure = backends.call("sql", function()
        local refusal = internal.refusal(db.place ~= nil and db.place.is_network)
        if refusal then
            return nil, refusal
        end
        local rows, affected, first, code = f()
        if rows then
            return { rows = rows, affected = affected, first = first }
        elseif first == "statement" or first == "limit" then
            return { error = affected, code = code }
        end
        return nil, affected
    end, { instance = db.name, on_failure = policy(db), request = request })
    return result, failure
end

-- What a fake may say in short: a list of rows, or one value, which for exec is how many were changed.
local function from_fake(op, result)
    if type(result) ~= "table" then
        return op == "exec" and { rows = {}, affected = result } or { rows = { { value = result } }, affected = 0, first = "value" }
    elseif result.rows == nil and result.error == nil and result.affected == nil then
        return { rows = result, affected = 0 }
    end
    return { rows = result.rows or {}, affected = result.affected or 0, first = result.first, error = result.error, code = result.code }
end

local function first_value(result)
    local row = result.rows[1]
    if not row then
        return nil
    elseif result.first then
        return row[result.first]
    end
    local _, value = next(row) -- a fake's: it has one column
    return value
end

local GIVE = {
    query = function(result) return result.rows end,
    row = function(result) return result.rows[1] end,
    value = first_value,
    exec = function(result) return result.affected end,
}

local function is_simulated()
    return require("postern.internal.backend").is_simulated()
end

-- is_transaction: of a test's request. run: as f of call.
local function ask(db, op, text, values, is_transaction, run)
    local request = { op = op, sql = text, parameters = values, transaction = is_transaction }
    local result, failure = call(db, request, run)
    if result == nil then
        return false, failure
    elseif is_simulated() then
        result = from_fake(op, result)
    end
    if result.error then
        return false, result.error, result.code
    end
    return true, GIVE[op](result)
end

local function give(is_good, ...)
    if is_good then
        return ...
    end
    return nil, ...
end

local function statement(op)
    local what = "db:" .. op
    return function(db, text, ...)
        local values = table.pack(...)
        if getmetatable(db) ~= false or not rawget(db, "pool") then
            error(what .. ": call it as db:" .. op .. "(…)", 2)
        end
        check_statement(what, text, values, 2)
        return give(ask(db, op, text, values, false, function() return link.ask(db, text, values, op ~= "exec") end))
    end
end

---Rows as a list of tables by names of columns; NULL is nil.
Database.query = statement("query")
---The first row, or nil.
Database.row = statement("row")
---The first column of the first row, or nil.
Database.value = statement("value")
---How many rows were inserted, changed or deleted.
Database.exec = statement("exec")

-- ---- transactions ----

local function of_transaction(op)
    local what = "tx:" .. op
    return function(tx, text, ...)
        local values = table.pack(...)
        if type(tx) ~= "table" or not rawget(tx, "db") then
            error(what .. ": call it as tx:" .. op .. "(…)", 2)
        elseif tx.lease.is_over then
            error(what .. ": the transaction is over", 2)
        end
        check_statement(what, text, values, 2)
        if tx.is_busy then
            error(what .. ": the transaction is in use by a function that runs at the same time", 2)
        elseif tx.failure then
            return nil, tx.failure, tx.code
        end
        local db = tx.db
        local _ <close> = setmetatable({}, { __close = function()
            if tx.is_busy then -- the task was cancelled, or the hook ends
                tx.is_busy, tx.failure = false, "a statement of the transaction was cancelled"
                tx.lease:drop()
            end
        end })
        tx.is_busy = true
        local is_good, value, code = ask(db, op, text, values, true, function()
            return link.run(db, tx.lease.link, text, values, now() + db.timeout, true)
        end)
        tx.is_busy = false
        if is_good then
            return value
        end
        tx.failure, tx.code = value, code
        return nil, value, code
    end
end

for op in pairs(GIVE) do
    Transaction[op] = of_transaction(op)
end

-- SQLite takes its lock at once, so that no statement in between has to wait for another writer.
local function begin(db)
    local finish = now() + db.timeout
    local lease, why, kind = link.lease(db, finish)
    if not lease then
        return nil, why, kind
    end
    local guard <close> = link.guard(lease)
    local rows, failure, kind_of, code = link.run(db, lease.link, db.place and "BEGIN" or "BEGIN IMMEDIATE", NOTHING, finish)
    if not rows then
        return nil, failure, kind_of, code
    end
    guard.is_over = true
    return { lease }
end

local function open_lease(db)
    if is_simulated() then
        return setmetatable({ drop = function() end }, { __close = function(lease) lease.is_over = true end })
    end
    local lease
    local result, why = call(db, { op = "begin" }, function()
        local list, failure, kind, code = begin(db)
        lease = list and list[1]
        return list, failure, kind, code
    end)
    if not result then
        return nil, why
    end
    return lease, result.error, result.code
end

local function commit(db, lease)
    if is_simulated() then
        return true
    end
    local result, why = call(db, { op = "commit" }, function()
        local rows, failure, kind, code = link.run(db, lease.link, "COMMIT", NOTHING, now() + db.timeout)
        if not rows and kind ~= "statement" then
            failure = failure .. "; the transaction may have been done"
        end
        return rows, failure, kind, code
    end)
    if not result then
        return nil, why
    elseif result.error then
        return nil, result.error, result.code
    end
    return true
end

-- For the connection's sake: one that cannot is closed, and the data base rolls back by itself.
local function roll_back(db, lease)
    if lease.link and lease.link:is_in_transaction() then
        link.run(db, lease.link, "ROLLBACK", NOTHING, now() + db.timeout)
    end
end

---Calls f(tx) within a transaction: what f returns, or true, once it is committed. It is rolled back when f raises, returns nil and
-- why, when a statement fails, and at the deadline.
function Database.transaction(db, f)
    if type(db) ~= "table" or not rawget(db, "pool") then
        error("db:transaction: call it as db:transaction(…)", 2)
    elseif type(f) ~= "function" then
        error("db:transaction: a function expected, not " .. type(f), 2)
    end
    local lease <close>, why, code = open_lease(db)
    if not lease then
        return nil, why, code
    end
    local tx = setmetatable({ db = db, lease = lease }, Transaction)
    local results = table.pack(f(tx))
    if tx.failure or results[1] == nil and results[2] ~= nil then
        roll_back(db, lease)
        if results[1] == nil and results[2] ~= nil then
            return table.unpack(results, 1, results.n)
        end
        return nil, tx.failure, tx.code
    end
    local is_done, failure, failure_code = commit(db, lease)
    if not is_done then
        return nil, failure, failure_code
    elseif results.n == 0 then
        return true
    end
    return table.unpack(results, 1, results.n)
end

-- ---- the module ----

---Bytes as a parameter: bytea in PostgreSQL, a blob in SQLite.
function sql.blob(bytes)
    if type(bytes) ~= "string" then
        error("sql.blob: a string expected, not " .. type(bytes), 2)
    end
    return setmetatable({ blob = bytes }, Blob)
end

---A data base; nothing is opened until it is asked.
function sql.open(given)
    check_open(given)
    local function of(name, default)
        return given[name] == nil and default or given[name]
    end
    local place = given.postgres and places.read(given.postgres, 2) or nil
    local db = {
        path = given.sqlite, place = place, on_failure = given.on_failure,
        read_only = given.read_only or false, create = given.create or false, pooler = given.pooler or false,
        timeout = of("timeout", options.timeout), connect_timeout = of("connect_timeout", options.connect_timeout),
        max_rows = math.tointeger(of("max_rows", options.max_rows)), max_bytes = math.tointeger(of("max_bytes", options.max_bytes)),
    }
    db.name = of("name", place and place.name or given.sqlite):gsub("[^ -~]", "?"):sub(1, NAME_MAX)
    db.pool = pool.new(db.name, math.tointeger(of("connections", options.connections)), of("idle_time", options.idle_time))
    return setmetatable(db, Database)
end

return sql
