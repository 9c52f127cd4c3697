-- Calls of back ends: scanners and policy servers, named by their section of the configuration. What one cannot answer becomes what
-- on_failure says, and one that fails again and again is left alone for a while. A module for a scanner is little more than
--
--   function clamav.scan(msg)
--       return backends.call("clamav", function() … return result   or   return nil, "why" … end, { msg = msg })
--   end

local internal = require "postern.internal.backend"
local log = require "postern.log"
local metrics = require "postern.metrics"
local store = require "postern.store"

local backends = {}

local NAME_MAX = 200

-- By label: failures (in a row), and when one that is left alone is tried next. A worker's own. The label is the name of the section, and
-- which of several behind it.
local breakers = {}

local function breaker_of(name, instance)
    local label = instance and name .. " " .. instance or name
    local breaker = breakers[label]
    if not breaker then
        breaker = { label = label, failures = 0, next_try = 0 }
        breakers[label] = breaker
    end
    return breaker
end

-- nil, or why it is not asked now.
local function why_not(name, breaker)
    if breaker.failures < internal.option(name, "failures") then
        return nil
    end
    local left = breaker.next_try - internal.now()
    if left > 0 then
        return ("left alone for %.0f s more after %d failures in a row"):format(math.ceil(left), breaker.failures)
    end
    breaker.next_try = internal.now() + internal.option(name, "retry_time") -- who asks now is the only one meanwhile
end

local function note(name, breaker, is_good)
    local limit = internal.option(name, "failures")
    local was_open = breaker.failures >= limit
    if is_good then
        breaker.failures = 0
        if was_open then
            log.info("%s answers again", breaker.label)
        end
        return
    end
    breaker.failures = breaker.failures + 1
    if breaker.failures >= limit then
        breaker.next_try = internal.now() + internal.option(name, "retry_time")
        if not was_open then
            log.error("%s failed %d times in a row, and is left alone for a while", breaker.label, breaker.failures)
        end
    end
end

---Whether what ends with err (of __close) was cancelled while it still had time, by the clock of finish(): another was quicker, or has ended
-- the hook. That is no failure of whom it asked.
function backends.was_cancelled(err, finish)
    return err == nil and internal.now() < finish
end

-- What the function returned. A time that ran out, and an error, are failures too.
local function ask(name, breaker, call)
    local is_noted, finish = false, internal.finish()
    local _ <close> = setmetatable({}, { __close = function(_, err)
        if is_noted then
            return
        elseif backends.was_cancelled(err, finish) then
            breaker.next_try = 0 -- if this was the one that tried, the next one does
        else
            note(name, breaker, false)
        end
    end })
    local result, err = call()
    is_noted = true
    note(name, breaker, result ~= nil)
    return result, err
end

-- Mail that nobody looked at is counted, listed and marked.
local function mark(name, msg, why)
    metrics.counter("unscanned", "mail that went on though a back end did not look at it"):inc(1, { backend = name })
    if not msg then
        return
    end
    local header, keep = internal.option(name, "unscanned_header"), internal.option(name, "unscanned_keep")
    msg:log("unscanned", name .. ": " .. why)
    if header ~= "" then
        msg:add_header(header, name)
    end
    if keep > 0 then
        local ok, err = store.set("unscanned/" .. msg.uid .. "/" .. name, { why = why, sender = msg.sender, id = msg.id }, keep)
        if not ok then
            log.warn("%s is not in the list of unscanned mail: %s", msg.uid, err or "?")
        end
    end
end

-- What the fake of a test gets to see: what the module says of its request, and what is known of the message by now.
local function request_of(name, options)
    local request = {}
    for key, value in pairs(options.request or {}) do
        request[key] = value
    end
    local msg = options.msg
    local function add(key, get)
        local is_known, value = pcall(get)
        if is_known and request[key] == nil then
            request[key] = value
        end
    end
    request.backend = name
    if msg then
        add("uid", function() return msg.uid end)
        add("ip", function() return msg.conn.ip end)
        add("helo", function() return msg.conn.helo end)
        add("sender", function() return msg.sender end)
        add("recipients", function()
            local list = {}
            for i, rcpt in ipairs(msg.recipients) do list[i] = rcpt.address end
            return list
        end)
        add("message", function() return msg:raw() end)
    end
    if options.content then
        add("content", function() return options.content:content() end) -- of a part; a message has none
    end
    return request
end

local function fail(name, options, why)
    local policy = options.on_failure or internal.option(name, "on_failure")
    policy = policy == "backend" and internal.option("backend", "on_failure") or policy
    metrics.counter("backend_failures", "calls of back ends that failed"):inc(1, { backend = name })
    if policy == "return" then
        return nil, why
    elseif policy == "continue" then
        log.warn("%s: %s; the mail goes on unscanned", name, why)
        mark(name, options.msg, why)
        return { status = "unscanned", error = why }
    end
    return internal.defer((options.instance and name .. " " .. options.instance or name) .. ": " .. why)
end

---"msg" or "part", and how many bytes it has; nil and why it cannot be looked at as a whole. Raises, at the filter's line, for anything else.
function backends.content(what, content)
    local is_good, kind, size = pcall(internal.content, content)
    if not is_good then
        error(what .. ": " .. tostring(kind):gsub("^[^\n]-:%d+: ", ""), 3)
    end
    return kind, size
end

---The msg that the hook is about, for who was given a part of it.
backends.message = internal.message

---A name out of a stranger's answer: printable ASCII, at most 200 bytes.
function backends.name(text)
    return (text:gsub("[^ -~]", "?"):sub(1, NAME_MAX))
end

---The result for what a back end is not asked about. msg: the mail, marked as unscanned; nil: it is not.
function backends.skip(name, why, msg)
    if msg then
        mark(name, msg, why)
    end
    return { status = "skipped", error = why }
end

---Calls a back end.
-- name: its section, for the options on_failure, failures, retry_time, unscanned_header, unscanned_keep (else those of [backend] count).
-- call: returns a result, or nil and why there is none; in a test the test's fake_backend does in its place.
-- options: msg, to be marked; on_failure, in place of the section's; instance, which of several servers with the same section, so that
-- one that fails is left alone and not all of them; for a fake to see: content, the msg or part that is asked about, and
-- request, a table of what else there is.
function backends.call(name, call, options)
    options = options or {}
    if internal.is_simulated() then
        call = function() return internal.simulated(name, request_of(name, options)) end
    end
    local breaker = breaker_of(name, options.instance)
    local why = why_not(name, breaker)
    if why then
        return fail(name, options, why)
    end
    local result, err = ask(name, breaker, call)
    if result == nil then
        return fail(name, options, tostring(err or "no answer"))
    end
    return result
end

return backends
