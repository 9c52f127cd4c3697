-- postern.rspamd: what rspamd says of a mail (POST /checkv2 to its normal worker).
--
--   local rspamd = require "postern.rspamd"
--   function filter_message(msg)
--       local result = rspamd.check(msg)
--       if result.action == "reject" then return reject("this looks like spam") end
--       rspamd.apply(msg, result)
--   end
--
-- The server stands in [rspamd], and what becomes of mail that it cannot judge. Its answer is a stranger's: everything is checked.

local backends = require "postern.internal.backends"
local http = require "postern.http"
local json = require "postern.internal.json"
local log = require "postern.log"
local system = require "postern.internal.system"

local rspamd = {}

local options = system.options("rspamd")

local TYPES = {
    changed = "boolean", deliver_to = "string", headers = "table", on_failure = "string", timeout = "number", url = "string", user = "string",
}
local POLICIES = { tempfail = true, continue = true, ["return"] = true }
local SPAM = { ["reject"] = true, ["add header"] = true, ["rewrite subject"] = true, ["quarantine"] = true, ["discard"] = true }

-- What the milter part of an answer makes of a refusal.
local REFUSALS = { discard = true, quarantine = true }

local FIELDS_MAX, NAME_MAX, VALUE_MAX, ORDER_MAX = 200, 256, 32768, 1000000
local SIGNATURES_MAX, RECIPIENTS_MAX = 10, 200

-- ---- arguments ----

local function check_options(msg, given)
    if type(msg) ~= "userdata" then
        error("rspamd.check: a msg expected, not " .. type(msg), 3)
    elseif given ~= nil and type(given) ~= "table" then
        error("rspamd.check: options is a table", 3)
    end
    for name, value in pairs(given or {}) do
        if not TYPES[name] then
            error(("rspamd.check: there is no option '%s'"):format(tostring(name)), 3)
        elseif type(value) ~= TYPES[name] then
            error(("rspamd.check: %s is a %s"):format(name, TYPES[name]), 3)
        end
    end
    if given and given.on_failure and not POLICIES[given.on_failure] then
        error("rspamd.check: on_failure is tempfail, continue or return", 3)
    end
    return given or {}
end

-- ---- what it is told ----

-- As a header value: a client may have put anything into its HELO.
local function clean(text)
    return (text:gsub("[\0-\31\127]", "?"))
end

local function put(headers, name, value)
    if value and value ~= "" then
        headers[name] = clean(value)
    end
end

-- TLS and the user belong to the connection, and tell nothing of a sender behind our own edge.
local function put_connection(headers, msg, origin)
    local conn = msg.conn
    if origin.ip ~= conn.ip then
        return
    end
    put(headers, "User", conn.auth and conn.auth.user)
    if conn.tls then
        put(headers, "TLS-Version", conn.tls.version)
        put(headers, "TLS-Cipher", conn.tls.cipher)
        put(headers, "TLS-Cert-Issuer", conn.tls.issuer)
    end
end

local function metadata(msg, given)
    local origin, recipients = msg.conn.origin, {}
    for i, rcpt in ipairs(msg.recipients) do
        recipients[i] = "<" .. clean(rcpt.address) .. ">"
    end
    local headers = { ["From"] = "<" .. clean(msg.sender) .. ">", ["Rcpt"] = recipients, ["Pass"] = "all", ["Content-Type"] = "message/rfc822" }
    put(headers, "IP", origin.ip)
    put(headers, "Helo", origin.helo)
    put(headers, "Hostname", origin.hostname)
    put(headers, "Queue-Id", msg.id)
    put(headers, "MTA-Name", msg.conn.macros.j)
    put(headers, "Deliver-To", given.deliver_to or #msg.recipients == 1 and msg.recipients[1].address)
    put_connection(headers, msg, origin)
    put(headers, "User", given.user)
    for name, value in pairs(given.headers or {}) do
        headers[name] = value
    end
    return headers
end

-- ---- what it says ----

local function text_of(value)
    return type(value) == "string" and value or nil
end

-- Symbols as they came, for filters: name to { score =, description =, options = }.
local function read_symbols(answer)
    local symbols, tests = {}, {}
    for name, symbol in pairs(type(answer.symbols) == "table" and answer.symbols or {}) do
        if type(name) == "string" and type(symbol) == "table" then
            local list = {}
            for _, option in ipairs(type(symbol.options) == "table" and symbol.options or {}) do
                list[#list + 1] = type(option) ~= "table" and tostring(option) or nil
            end
            symbols[name] = { score = tonumber(symbol.score) or 0, description = text_of(symbol.description), options = list }
            tests[#tests + 1] = name
        end
    end
    table.sort(tests)
    return symbols, tests
end

-- Of what may be one or a list: the texts, at most n.
local function texts_of(value, n)
    local list = {}
    for _, one in ipairs(type(value) == "table" and value or { value }) do
        if type(one) == "string" and #list < n then
            list[#list + 1] = one
        end
    end
    return list
end

-- A refusal may be one that nobody is told of.
local function action_of(answer, milter)
    return answer.action == "reject" and REFUSALS[milter.reject] and milter.reject or answer.action
end

local function report(result)
    local lines = { ("%s, %.2f of %.2f"):format(result.action, result.score, result.threshold) }
    for i, name in ipairs(result.tests) do
        local symbol = result.symbols[name]
        local list = #symbol.options > 0 and " [" .. table.concat(symbol.options, ", ") .. "]" or ""
        lines[i + 1] = ("%7.2f %s%s"):format(symbol.score, name, list)
    end
    return table.concat(lines, "\n")
end

local function read_answer(body)
    local answer, err = json.decode(body)
    if type(answer) ~= "table" then
        return nil, "malformed answer: " .. tostring(err or "no object")
    elseif answer.is_skipped == true then
        return { status = "skipped", score = 0, threshold = 0, is_spam = false, action = "no action", symbols = {}, tests = {}, report = "skipped" }
    elseif type(answer.score) ~= "number" or type(answer.required_score) ~= "number" or type(answer.action) ~= "string" then
        return nil, "malformed answer: " .. (text_of(answer.error) or "no score, threshold or action")
    end
    local symbols, tests = read_symbols(answer)
    local is_spam = SPAM[answer.action] or false
    local milter = type(answer.milter) == "table" and answer.milter or {}
    local result = {
        status = is_spam and "spam" or "clean", is_spam = is_spam, score = answer.score, threshold = answer.required_score,
        action = action_of(answer, milter), symbols = symbols, tests = tests, subject = text_of(answer.subject), milter = milter,
        messages = type(answer.messages) == "table" and answer.messages or {}, signatures = texts_of(answer["dkim-signature"], SIGNATURES_MAX),
    }
    result.report = report(result)
    return result
end

-- ---- check ----

local function ask(msg, given)
    local url = (given.url or options.url):gsub("/+$", "") .. "/checkv2"
    local response, err = http.post(url, given.changed and msg:to_eml() or msg:raw(), {
        headers = metadata(msg, given), timeout = given.timeout or options.timeout, max_body = options.max_answer,
    })
    if not response then
        return nil, err
    elseif response.status ~= 200 then
        return nil, ("HTTP status %d"):format(response.status)
    end
    return read_answer(response.body)
end

---Asks rspamd: score, threshold, is_spam, action, tests, symbols, report, status ("clean", "spam", "skipped", "unscanned").
function rspamd.check(msg, given)
    given = check_options(msg, given)
    return backends.call("rspamd", function() return ask(msg, given) end, { msg = msg, on_failure = given.on_failure or options.on_failure })
end

-- ---- milter-style actions ----

local function is_name(name)
    return type(name) == "string" and #name <= NAME_MAX and name:find("^[!-9;-~]+$") ~= nil
end

-- Lines that it folded are one again; the mail server folds.
local function value_of(value)
    if type(value) == "number" then
        value = tostring(value)
    end
    if type(value) ~= "string" or #value > VALUE_MAX or not utf8.len(value) then
        return nil
    end
    return (value:gsub("[\r\n]+[ \t]*", " "):gsub("[\0-\8\10-\31\127]", "?"))
end

local function count_headers(msg)
    local n = 0
    for _ in msg:each_header() do
        n = n + 1
    end
    return n
end

-- order: a position from the top (0), or from the end (-1); none: at the end.
local function add(msg, name, value, order)
    order = math.tointeger(order)
    if not order or order == -1 or order > ORDER_MAX then
        msg:add_header(name, value)
    elseif order >= 0 then
        msg:insert_header(order, name, value)
    else
        msg:insert_header(math.max(0, count_headers(msg) + order + 1), name, value)
    end
end

-- "value", { value =, order = }, or a list of these.
local function add_all(msg, name, what)
    local list = type(what) == "table" and what.value == nil and what or { what }
    for _, one in ipairs(list) do
        local order = type(one) == "table" and one.order or nil
        local value = value_of(type(one) == "table" and one.value or one)
        if value then
            add(msg, name, value, order)
        else
            log.warn("rspamd: the value of the header field %s that it wants to add cannot be one", name)
        end
    end
end

-- 0: all of the name; n: the nth; -n: the nth from the end; or a list of these.
local function remove_all(msg, name, what)
    local n = #msg:headers(name)
    for _, wanted in ipairs(type(what) == "table" and what or { what }) do
        local nth = math.tointeger(wanted)
        if nth == 0 then
            msg:delete_header(name)
        elseif nth and nth >= -n and nth <= n then
            msg:delete_header(name, nth > 0 and nth or n + nth + 1)
        end
    end
end

-- Sorted by name, so that the same answer changes a mail in the same way; bounded.
local function each(fields, call, msg)
    local names = {}
    for name in pairs(type(fields) == "table" and fields or {}) do
        if is_name(name) then
            names[#names + 1] = name
        else
            log.warn("rspamd: a header field without a good name")
        end
    end
    table.sort(names)
    for i = 1, math.min(#names, FIELDS_MAX) do
        call(msg, names[i], fields[names[i]])
    end
end

-- Made of the mail as it came; blanks may be folded at will where the header is signed relaxed, as rspamd does.
local function add_signatures(msg, signatures)
    for _, signature in ipairs(texts_of(signatures, SIGNATURES_MAX)) do
        local value = value_of(signature)
        if value then
            msg:insert_header(0, "DKIM-Signature", value)
        else
            log.warn("rspamd: its DKIM signature cannot be a header field")
        end
    end
end

-- Calls a method of msg with each address; one that the mail server would not take is left out.
local function each_address(msg, method, addresses)
    for _, address in ipairs(texts_of(addresses, RECIPIENTS_MAX)) do
        local is_good, why = pcall(msg[method], msg, (address:gsub("^<(.*)>$", "%1")))
        if not is_good then
            log.warn("rspamd: an address that it wants to be in the envelope: %s", tostring(why))
        end
    end
end

local function change_envelope(msg, milter)
    each_address(msg, "set_sender", text_of(milter.change_from))
    each_address(msg, "add_recipient", milter.add_rcpt)
    each_address(msg, "delete_recipient", milter.del_rcpt)
end

---Changes the mail as rspamd asks for it: header fields removed, then added, its DKIM signatures, the subject and the envelope that it wants.
function rspamd.apply(msg, result)
    if type(msg) ~= "userdata" then
        error("rspamd.apply: a msg expected, not " .. type(msg), 2)
    elseif type(result) ~= "table" then
        error("rspamd.apply: a result of rspamd.check expected, not " .. type(result), 2)
    end
    local milter = type(result.milter) == "table" and result.milter or {}
    each(milter.remove_headers, remove_all, msg)
    each(milter.add_headers, add_all, msg)
    add_signatures(msg, result.signatures)
    change_envelope(msg, milter)
    local subject = result.action == "rewrite subject" and value_of(result.subject)
    if subject then
        msg:set_header("Subject", subject)
    end
end

return rspamd
