-- postern.smtp: other mail servers: whether one takes a recipient, and mail that is sent to one.
--
--   local smtp = require "postern.smtp"
--   function filter_recipient(msg, rcpt)
--       local takes, code, text = smtp.check_recipient(rcpt.address, { host = "mailbox.example.net" })
--       if takes == false then return reject{ text = text, dsn = "5.1.1" } end
--   end
--
-- Options stand in [smtp].

local check = require "postern.internal.smtp_check"
local client = require "postern.internal.smtp_client"
local internal = require "postern.internal.smtp"
local log = require "postern.log"
local places = require "postern.internal.smtp_places"
local system = require "postern.internal.system"

local smtp = {}

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

-- ---- check_recipient ----

---Whether a server takes mail for an address: true or false, with code and text of its answer; nil and why when that cannot be found out.
function smtp.check_recipient(recipient, given)
    recipient = check_address("smtp.check_recipient", recipient, false)
    given = check_table("smtp.check_recipient", given or {}, check_types)
    local sender = check_address("smtp.check_recipient", given.sender or "", true)
    return check(recipient, sender, given)
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
        session, err = client.open(place, { timeout = left, tls = client.tls_mode(given), ca_file = given.ca_file, may_be_ourselves = true })
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
    local list, err = places.given(given, given.timeout or options.timeout)
    if not list then
        return nil, err
    end
    return deliver(list, given, mail)
end

---The places of the listener that takes copies; nil: there is none.
local function reinject_places(given)
    if given.host or given.path then
        return places.given(given, given.timeout or options.timeout)
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
    if not list then
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
