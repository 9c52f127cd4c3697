-- postern.smtp: other mail servers: whether one takes a recipient, and mail that is sent to one.
--
--   local smtp = require "postern.smtp"
--   function filter_recipient(msg, rcpt)
--       local takes, code, text = smtp.check_recipient(rcpt.address, { host = "mailbox.example.net" })
--       if takes == false then return reject{ text = text, dsn = "5.1.1" } end
--   end
--
-- Options stand in [smtp].

local address = require "postern.internal.address"
local async = require "postern.async"
local client = require "postern.internal.smtp_client"
local dns = require "postern.dns"
local internal = require "postern.internal.smtp"
local log = require "postern.log"
local store = require "postern.store"
local system = require "postern.internal.system"

local smtp = {}

local PORT = 25
local PREFIX = "smtp-check:"
local KEY_MAX = 1024
local BUSY_WAIT, BUSY_PAUSE = 2, 0.1 -- seconds that a check waits for another one of the same recipient
local RECIPIENTS_MAX = 10000
local options = system.options("smtp")

-- ---- arguments ----

local server_types = { host = "string", port = "number", path = "string", timeout = "number", starttls = "string", ca_file = "string" }
local check_types = setmetatable({ sender = "string" }, { __index = server_types })
local send_types = setmetatable({ from = "string", to = "any", message = "any" }, { __index = server_types })
local reinject_types = setmetatable({ to = "any" }, { __index = server_types })

local function check_range(what, given)
    if given.timeout and not (given.timeout > 0 and given.timeout <= 86400) then
        error(what .. ": timeout is in seconds, greater than 0, at most 86400", 4)
    end
    if given.port and (math.type(given.port) ~= "integer" or given.port < 1 or given.port > 65535) then
        error(what .. ": port is a number from 1 to 65535", 4)
    end
    if given.starttls and not client.tls_modes[given.starttls] then
        error(what .. ": starttls is no, may, must or verify", 4)
    end
    if given.host and given.path then
        error(what .. ": a host or a path, not both", 4)
    end
end

local function check_table(what, given, types)
    if type(given) ~= "table" then
        error(("%s: a table of options expected, not %s"):format(what, type(given)), 3)
    end
    for name, value in pairs(given) do
        local wanted = types[name]
        if not wanted then
            error(("%s: there is no option '%s'"):format(what, tostring(name)), 3)
        elseif wanted ~= "any" and type(value) ~= wanted then
            error(("%s: %s is a %s"):format(what, name, wanted), 3)
        end
    end
    check_range(what, given)
    return given
end

local function check_address(what, text, may_be_empty, level)
    level = level or 3
    if type(text) ~= "string" and type(text) ~= "userdata" then
        error(what .. ": an address expected, not " .. type(text), level)
    end
    text = tostring(text)
    if not internal.is_address(text, may_be_empty) then
        error(("%s: '%s' is no mail address"):format(what, text:gsub("[^ -~]", "?")), level)
    end
    return text
end

local function tls_mode(given)
    if given.starttls then
        return given.starttls
    elseif options.tls_verify then
        return "verify"
    elseif options.tls_required then
        return "must"
    end
    return options.starttls and "may" or "no"
end

-- ---- where ----

-- The addresses of a host: itself, when it is one.
local function addresses(host)
    host = host:match("^%[(.*)%]$") or host
    if address.bytes(host) then
        return { host }
    elseif host:lower() == "localhost" then
        return { "127.0.0.1" }
    end
    local found, errors = {}, {}
    local answers = async.all{ function() return dns.query(host, "A") end, function() return dns.query(host, "AAAA") end }
    for i = 1, 2 do
        for _, ip in ipairs(answers[i] or {}) do
            found[#found + 1] = ip
        end
        errors[#errors + 1] = answers.errors[i]
    end
    if #found == 0 and #errors > 0 then
        return nil, errors[1]
    end
    return found
end

-- The servers of a domain, the best first; nil and why; nil, why and true: it has none.
local function exchanges(domain)
    local list, err = dns.query(domain, "MX")
    if not list then
        return nil, err
    elseif list.nxdomain then
        return nil, "there is no such domain", true
    end
    table.sort(list, function(a, b) return a.preference < b.preference end)
    local names = {}
    for i, item in ipairs(list) do
        names[i] = item.exchange:gsub("%.$", "")
    end
    if #names == 1 and names[1] == "" then
        return nil, "the domain takes no mail", true -- RFC 7505
    end
    return #names > 0 and names or { domain } -- RFC 5321, section 5.1
end

-- Places to ask at for a domain, as client.open takes them.
local function places(domain, port)
    local names, err, is_final = exchanges(domain)
    if not names then
        return nil, err, is_final
    end
    local found, n_left_out = {}, 0
    for _, name in ipairs(names) do
        local ips, why = addresses(name)
        err = err or why
        for _, ip in ipairs(ips or {}) do
            if address.is_in(ip, options.check_never) then
                n_left_out = n_left_out + 1
            elseif #found < options.check_servers then
                found[#found + 1] = { address = ip, port = port, name = name }
            end
        end
        if #found == options.check_servers then
            break
        end
    end
    if #found > 0 then
        return found
    elseif n_left_out > 0 then
        return nil, "its mail server has an address in smtp.check_never"
    elseif err then
        return nil, err
    end
    return nil, "its mail servers have no address", true
end

local function given_places(given)
    if given.path then
        return { { path = given.path } }
    end
    local ips, err = addresses(given.host)
    if not ips then
        return nil, err
    end
    local found = {}
    for i, ip in ipairs(ips) do
        found[i] = { address = ip, port = given.port or PORT, name = given.host }
    end
    return found, #found == 0 and given.host .. " has no address" or nil
end

-- ---- check_recipient ----

-- What one server says: { answer, code, text }, or nil and why.
local function ask(place, recipient, sender, given, left)
    local is_chosen = given.host ~= nil or given.path ~= nil -- else DNS may lead to ourselves
    local session <close>, err = client.open(place, { timeout = left, tls = tls_mode(given), ca_file = given.ca_file, may_be_ourselves = is_chosen })
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
    local until_time = system.now() + (given.timeout or options.check_timeout)
    local list, err, is_final
    if given.host or given.path then
        list, err = given_places(given)
    else
        list, err, is_final = places(domain, given.port or PORT)
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

---Whether a server takes mail for an address: true or false, with code and text of its answer; nil and why when that cannot be found out.
function smtp.check_recipient(recipient, given)
    recipient = check_address("smtp.check_recipient", recipient, false)
    given = check_table("smtp.check_recipient", given or {}, check_types)
    local sender = check_address("smtp.check_recipient", given.sender or "", true)
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

-- ---- send and reinject ----

-- { { address =, args = }, … } of addresses or recipients.
local function recipients_of(what, list)
    local out = {}
    for i, item in ipairs(type(list) == "table" and list or { list }) do
        out[i] = { address = check_address(what, item, false, 4), args = type(item) == "userdata" and item.args or nil }
    end
    if #out == 0 or #out > RECIPIENTS_MAX then
        error(("%s: to has 1 to %d recipients"):format(what, RECIPIENTS_MAX), 3)
    end
    return out
end

local function open_any(list, given, timeout)
    local err
    local until_time = system.now() + timeout
    for _, place in ipairs(list) do
        local left = until_time - system.now()
        if left <= 0 then
            break
        end
        local session
        session, err = client.open(place, { timeout = left, tls = tls_mode(given), ca_file = given.ca_file, may_be_ourselves = true })
        if session then
            return session
        end
    end
    return nil, err or "timeout"
end

-- One answer by address.
local function by_address(mail, said)
    local out, is_whole = {}, said.is_taken
    for i, recipient in ipairs(mail.recipients) do
        local answer = said.answers[i] or { code = said.code, text = said.text }
        out[recipient.address] = answer
        is_whole = is_whole and answer.code < 300
    end
    return is_whole, out
end

local function deliver(list, given, mail)
    if not internal.does_deeds() then
        log.info("not sent, since this is a trial: a message to %d recipients", #mail.recipients)
        return by_address(mail, { is_taken = true, code = 250, text = "not sent: a trial", answers = {} })
    end
    local session <close>, err = open_any(list, given, given.timeout or options.timeout)
    if not session then
        return nil, err
    end
    local said, why, is_lost = session:mail(mail)
    if not said then
        return nil, why, is_lost or nil
    end
    session:quit()
    return by_address(mail, said)
end

---Sends a message. True when the server took it for all recipients, else false, with its answers by address; nil and why when it gave
-- none, and true as third result when it may have taken the message all the same.
function smtp.send(given)
    check_table("smtp.send", given, send_types)
    if not given.host and not given.path then
        error("smtp.send: host or path is missing", 2)
    end
    if type(given.message) ~= "string" and type(given.message) ~= "userdata" then
        error("smtp.send: message is a text or a msg", 2)
    end
    local mail = {
        sender = check_address("smtp.send", given.from or "", true),
        recipients = recipients_of("smtp.send", given.to or {}),
        content = internal.content(given.message),
    }
    local list, err = given_places(given)
    if not list or #list == 0 then
        return nil, err
    end
    return deliver(list, given, mail)
end

---The places of the listener that takes copies; nil: there is none.
local function reinject_places(given)
    if given.host or given.path then
        return given_places(given)
    end
    local where = options.reinject ~= "" and client.where(options.reinject)
    if not where then
        error("smtp.reinject: smtp.reinject names no server", 3)
    end
    return { where }
end

---Sends a message as it would leave to recipients of its own, with the DSN arguments of the envelope. Results as of smtp.send.
function smtp.reinject(msg, given)
    if type(msg) ~= "userdata" then
        error("smtp.reinject: a msg expected, not " .. type(msg), 2)
    end
    given = check_table("smtp.reinject", given or {}, reinject_types)
    local recipients = recipients_of("smtp.reinject", given.to or msg.recipients)
    local list, err = reinject_places(given)
    if not list or #list == 0 then
        return nil, err
    end
    if msg.is_split then
        return nil, "loop: this message is such a copy itself"
    end
    local copies = require "postern.internal.split"
    return deliver(list, given, {
        sender = msg.sender, args = msg.sender_args, recipients = recipients, head = copies.head(msg, false), content = internal.content(msg),
    })
end

return smtp
