-- postern.internal.smtp_client: a dialogue with a mail server (RFC 5321), for postern.smtp and msg:split. Each call waits, and only its
-- own task. A server that cannot be understood, or says nothing in time, is nil and why; a refusal is an answer.
--
--   local session, err = client.open({ address = "192.0.2.1", port = 25, name = "mx.example.net" }, { timeout = 5, tls = "may" })
--   local answer, err, is_lost = session:mail{ sender = "", recipients = { { address = "ann@example.net" } }, content = … }
--   session:quit()

local internal = require "postern.internal.smtp"
local net = require "postern.internal.net"
local system = require "postern.internal.system"

local client = {}

local LINE_MAX, LINES_MAX = 2048, 100 -- of a reply; RFC 5321 says 512 bytes
local TEXT_MAX = 500 -- of a reply, as it is kept
local EXTENSIONS_MAX = 64

---Ways to use STARTTLS: never; where it is offered; always; always, and the certificate is good for the name.
client.tls_modes = { no = true, may = true, must = true, verify = true }

---Which of them: the one that a call gives, else what [smtp] says.
function client.tls_mode(given)
    local options = system.options("smtp")
    if given.starttls then
        return given.starttls
    elseif options.tls_verify then
        return "verify"
    elseif options.tls_required then
        return "must"
    end
    return options.starttls and "may" or "no"
end

local Session = {}
Session.__index = Session
Session.__close = function(self) self.stream:close() end

---The name that we give.
function client.own_name()
    local helo = system.options("smtp").helo
    return helo ~= "" and helo or internal.host_name()
end

-- ---- replies ----

-- Printable ASCII on one line: it goes into logs and into our own replies.
local function clean(text)
    return (text:gsub("[^ -~]+", "?"):sub(1, TEXT_MAX))
end

-- The lines of a whole reply: code, texts; nil and why.
function Session:lines()
    local texts = {}
    for i = 1, LINES_MAX do
        local line, err = self.stream:read_line(LINE_MAX)
        if not line then
            return nil, err
        end
        local code, mark, text = line:match("^([2-5]%d%d)([ -]?)(.*)$")
        if not code or mark == "" and text ~= "" then
            self.stream:close()
            return nil, "no SMTP"
        end
        texts[i] = text
        if mark ~= "-" then
            return math.tointeger(tonumber(code)), texts
        end
    end
    self.stream:close()
    return nil, "too long"
end

function Session:reply()
    local code, texts = self:lines()
    if not code then
        return nil, texts
    end
    return code, clean(table.concat(texts, " "))
end

-- A command and its answer. What goes into it was checked (is_sendable): no line ends.
function Session:ask(stage, command)
    self.stage = stage
    local ok, err = self.stream:write(command .. "\r\n")
    if not ok then
        return nil, err
    end
    return self:reply()
end

-- ---- the beginning ----

-- What the server offers: names in upper case to their parameters.
local function extensions_of(texts)
    local offers = {}
    for i = 2, math.min(#texts, EXTENSIONS_MAX) do
        local name, rest = texts[i]:match("^([%w%-]+)[ =]?(.*)$")
        if name then
            offers[name:upper()] = clean(rest)
        end
    end
    return offers
end

-- True, or nil and why. What was offered before TLS counts no more after it (RFC 3207, section 4.2).
function Session:hello()
    self.stage, self.offers = "EHLO", {}
    local ok, err = self.stream:write("EHLO " .. self.own_name .. "\r\n")
    if not ok then
        return nil, err
    end
    local code, texts = self:lines()
    if not code then
        return nil, texts
    elseif code == 250 then
        self.offers = extensions_of(texts)
        return true
    elseif code < 500 then
        return nil, ("%d %s"):format(code, clean(table.concat(texts, " ")))
    end
    local text
    code, text = self:ask("HELO", "HELO " .. self.own_name)
    if code == 250 then
        return true
    end
    return nil, code and ("%d %s"):format(code, text) or text
end

-- The name that a server gives itself in its greeting is ours: we would ask ourselves.
local function is_ourselves(text, own_name)
    local name = text:match("^[^ ]*"):lower()
    return name ~= "" and name == own_name:lower()
end

local function greeting(self, may_be_ourselves)
    self.stage = "greeting"
    local code, text = self:reply()
    if not code then
        return nil, text
    elseif code ~= 220 then
        return nil, ("%d %s"):format(code, text)
    elseif not may_be_ourselves and is_ourselves(text, self.own_name) then
        return nil, "the server is this one"
    end
    return true
end

-- Second result: why not; third: TLS is what failed, so that another try without it makes sense.
local function begin_tls(self, where, options)
    if options.tls == "no" then
        return true
    elseif not self.offers.STARTTLS then
        if options.tls == "may" then
            return true
        end
        return nil, "no STARTTLS"
    end
    local code, text = self:ask("STARTTLS", "STARTTLS")
    if not code then
        return nil, text, true
    elseif code ~= 220 then
        if options.tls == "may" then
            return true
        end
        return nil, ("%d %s"):format(code, text)
    end
    local verifies = options.tls == "verify"
    local ok, err = self.stream:tls{ name = where.name or where.address or "localhost", ca_file = options.ca_file, verify = verifies }
    if not ok then
        return nil, err, true
    end
    self.is_tls = true
    return self:hello()
end

local function try_open(where, options, left)
    local what = "smtp " .. (where.name or where.path or where.address)
    local stream, err = net.connect{ path = where.path, address = where.address, port = where.port, timeout = left, what = what }
    if not stream then
        return nil, "connect: " .. err
    end
    local self = setmetatable({ stream = stream, own_name = client.own_name(), stage = "greeting", offers = {} }, Session)
    local ok, tls_failed
    ok, err = greeting(self, options.may_be_ourselves)
    if ok then
        ok, err = self:hello()
    end
    if ok then
        ok, err, tls_failed = begin_tls(self, where, options)
    end
    if ok then
        return self
    end
    stream:close()
    return nil, self.stage .. ": " .. err, tls_failed
end

---Connects and says hello. where: path, or address and port; name, of the certificate. options: timeout, seconds for all that is said;
-- tls, one of tls_modes; ca_file; may_be_ourselves. A session, or nil and why.
function client.open(where, options)
    local until_time = system.now() + options.timeout
    local session, err, tls_failed = try_open(where, options, options.timeout)
    local left = until_time - system.now()
    if session or not tls_failed or options.tls ~= "may" or left <= 0 then
        return session, err
    end
    local plainly = setmetatable({ tls = "no" }, { __index = options })
    return try_open(where, plainly, left)
end

---Seconds for what follows.
function Session:timeout(seconds)
    self.stream:timeout(seconds)
end

-- ---- a message ----

-- " NAME=VALUE" of those arguments that the server takes.
local function arguments(args, names)
    local out = ""
    for _, name in ipairs(names) do
        local value = args and args[name]
        if type(value) == "string" and not value:find("[^!-~]") then
            out = out .. " " .. name .. "=" .. value
        end
    end
    return out
end

local function needs_utf8(mail)
    if not internal.is_ascii(mail.sender) then
        return true
    end
    for _, recipient in ipairs(mail.recipients) do
        if not internal.is_ascii(recipient.address) then
            return true
        end
    end
    return mail.args ~= nil and mail.args.SMTPUTF8 ~= nil
end

-- What would end a command, or be more than an address in it, is not said: the envelope is a stranger's.
local function is_sendable(mail)
    local is_good = internal.is_address(mail.sender, true)
    for _, recipient in ipairs(mail.recipients) do
        is_good = is_good and internal.is_address(recipient.address, false)
    end
    return is_good
end

function Session:mail_command(mail)
    local command = "MAIL FROM:<" .. mail.sender .. ">"
    if mail.content then
        local size, is_ascii = internal.facts(mail.content)
        command = command .. (self.offers.SIZE and " SIZE=" .. size + #(mail.head or "") or "")
        command = command .. (self.offers["8BITMIME"] and not is_ascii and " BODY=8BITMIME" or "")
    end
    command = command .. (self.offers.DSN and arguments(mail.args, { "RET", "ENVID" }) or "")
    return command .. (needs_utf8(mail) and " SMTPUTF8" or "")
end

-- The answers for all recipients, and whether one of them is taken; nil and why.
function Session:recipients(mail)
    local answers, is_taken = {}, false
    for i, recipient in ipairs(mail.recipients) do
        local dsn = self.offers.DSN and arguments(recipient.args, { "NOTIFY", "ORCPT" }) or ""
        local code, text = self:ask("RCPT", "RCPT TO:<" .. recipient.address .. ">" .. dsn)
        if not code then
            return nil, text
        end
        answers[i] = { code = code, text = text }
        is_taken = is_taken or code < 300
    end
    return answers, is_taken
end

-- What is left to be written with the final dot, so that no small packet waits for an answer to the one before it; nil and why.
function Session:write_content(mail)
    local rest = mail.head or ""
    local piece, at = internal.piece(mail.content, 0)
    while piece do
        rest = rest .. piece
        piece, at = internal.piece(mail.content, at)
        if piece then
            local ok, err = self.stream:write(rest)
            if not ok then
                return nil, err
            end
            rest = ""
        end
    end
    return rest
end

-- Everything that was refused: answers of the recipients that had been taken are that of the whole.
local function refused(stage, code, text, answers)
    for _, answer in ipairs(answers or {}) do
        if answer.code < 300 then
            answer.code, answer.text = code, text
        end
    end
    return { is_taken = false, stage = stage, code = code, text = text, answers = answers or {} }
end

function Session:data(mail, answers)
    local code, text = self:ask("DATA", "DATA")
    if not code then
        return nil, "DATA: " .. text
    elseif code ~= 354 then
        return refused("DATA", code, text, answers)
    end
    local rest, why = self:write_content(mail)
    if not rest then
        return nil, "the message: " .. why
    end
    self.stage = "the message's end"
    local _, _, ending = internal.facts(mail.content)
    local ok, err = self.stream:write(rest .. ending)
    if ok then
        code, text = self:reply()
    end
    if not ok or not code then
        return nil, "the message's end: " .. (ok and text or err), true
    elseif code >= 300 then
        return refused(self.stage, code, text, answers)
    end
    return { is_taken = true, code = code, text = text, answers = answers }
end

---One message. mail: sender; args of MAIL; recipients, each with address and args; head, fields that go before it; content (internal.smtp),
-- or nothing: then it ends after the recipients, and none is sent. An answer: is_taken, and else stage, with code and text; answers, one
-- for each recipient that was asked for. Nil and why when there is none; third result: the message may have been taken all the same.
function Session:mail(mail)
    if not is_sendable(mail) then
        return refused("MAIL", 553, "an address that no command can hold")
    elseif needs_utf8(mail) and not self.offers.SMTPUTF8 then
        return refused("MAIL", 553, "the server takes no such addresses (SMTPUTF8)")
    end
    local code, text = self:ask("MAIL", self:mail_command(mail))
    if not code then
        return nil, "MAIL: " .. text
    elseif code >= 300 then
        return refused("MAIL", code, text)
    end
    local answers, is_taken = self:recipients(mail)
    if not answers then
        return nil, "RCPT: " .. is_taken
    elseif is_taken and mail.content then
        return self:data(mail, answers)
    end
    local last = answers[#answers]
    self:ask("RSET", "RSET")
    return { is_taken = false, stage = "RCPT", code = last.code, text = last.text, answers = answers }
end

---Its answer would tell nothing.
function Session:quit()
    self.stream:write("QUIT\r\n")
    self.stream:close()
end

-- ---- where a server is ----

---The parts of a socket's text (inet:PORT@ADDRESS, inet6:PORT@ADDRESS, unix:PATH); nil when it is none.
function client.where(spec)
    local path = spec:match("^unix:(.+)$") or spec:match("^local:(.+)$") or spec:match("^/.*$")
    if path then
        return { path = path }
    end
    local port, host = spec:match("^inet6?:(%d+)@(.+)$")
    if port then
        host = host:match("^%[(.*)%]$") or host
        return { port = math.tointeger(tonumber(port)), address = host == "localhost" and "127.0.0.1" or host, name = host }
    end
    return nil
end

return client
