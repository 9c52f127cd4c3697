-- postern.internal.smtp_check: whether a server takes a recipient, for postern.smtp: asked once by all workers, and remembered by them.

local async = require "postern.async"
local client = require "postern.internal.smtp_client"
local places = require "postern.internal.smtp_places"
local store = require "postern.store"
local system = require "postern.internal.system"

local PREFIX = "smtp-check:"
local KEY_MAX = 1024
local BUSY_WAIT, BUSY_PAUSE = 2, 0.1 -- seconds that a check waits for another one of the same recipient
local options = system.options("smtp")

-- What one server says: { answer, code, text }, or nil and why.
local function ask(place, recipient, sender, given, left)
    local is_chosen = given.host ~= nil or given.path ~= nil -- else DNS may lead to ourselves
    local session <close>, err = client.open(place, { timeout = left, tls = client.tls_mode(given), ca_file = given.ca_file, may_be_ourselves = is_chosen })
    if not session then
        return nil, err
    end
    local said, why = session:mail{ sender = sender, recipients = { { address = recipient } } }
    if not said then
        return nil, why
    end
    session:quit()
    if said.stage ~= "RCPT" or said.code >= 400 and said.code < 500 then
        return nil, ("%s: %d %s"):format(said.stage, said.code, said.text) -- it says nothing about this recipient
    end
    return { answer = said.code < 300, code = said.code, text = said.text }
end

local function find_out(recipient, domain, sender, given)
    local seconds = given.timeout or options.check_timeout
    local until_time = system.now() + seconds
    local list, err, is_final
    if given.host or given.path then
        list, err = places.given(given, seconds)
    else
        list, err, is_final = async.timeout(seconds, places.of_domain, domain, given.port)
    end
    if is_final then
        return { answer = false, code = 550, text = err }
    end
    for _, place in ipairs(list or {}) do
        local left = until_time - system.now()
        if left <= 0 then
            return nil, err or "timeout"
        end
        local result, why = ask(place, recipient, sender, given, left)
        if result then
            return result
        end
        err = why
    end
    return nil, err
end

local function lifetime(result)
    if result.answer == nil then
        return options.check_failed
    end
    return result.answer and options.check_taken or options.check_refused
end

local function remembered(key)
    local value = store.get(key)
    return type(value) == "table" and value or nil
end

local function give(result)
    if result.answer == nil then
        return nil, result.text
    end
    return result.answer, result.code, result.text
end

-- Waits for one who asks the same. Were that ourselves, by way of the server that we ask, it would never end: so not for long.
local function wait_for_other(key, busy)
    local until_time = system.now() + BUSY_WAIT
    while system.now() < until_time do
        async.sleep(BUSY_PAUSE)
        local result = remembered(key)
        if result then
            return result
        elseif store.get(busy) == nil then
            return nil
        end
    end
    return { text = "another check of this recipient is under way" }
end

---Whether a server takes mail for an address: true or false, with code and text of its answer; nil and why. All arguments are checked;
-- given is of smtp.check_recipient.
return function(recipient, sender, given)
    local user, domain = recipient:match("^(.*)@([^@]*)$")
    if not domain or domain:find("^%[") and not (given.host or given.path) then
        return nil, "the address has no domain to ask at"
    end
    domain = domain:lower()
    local where = given.path or ("%s:%s"):format(given.host or "", given.port or "")
    local key = ("%s%s@%s|%s|%s"):format(PREFIX, user, domain, where, sender)
    if #key > KEY_MAX - 8 then
        return nil, "the address is too long to be remembered"
    end
    local result = remembered(key)
    if result then
        return give(result)
    end
    local busy = "busy:" .. key
    if store.add(busy, true, (given.timeout or options.check_timeout) + 1) == false then
        result = wait_for_other(key, busy)
        if result then
            return give(result)
        end
        store.set(busy, true, (given.timeout or options.check_timeout) + 1)
    end
    local _ <close> = setmetatable({}, { __close = function() store.delete(busy) end })
    local why
    result, why = find_out(user .. "@" .. domain, domain, sender, given)
    result = result or { text = why or "no server" }
    if lifetime(result) > 0 then
        store.set(key, result, lifetime(result))
    end
    return give(result)
end
