-- postern.spamassassin: asks spamd how much a mail looks like spam.
--
--   local spamassassin = require "postern.spamassassin"
--   function filter_message(msg)
--       local checked = spamassassin.check(msg)
--       if checked.score and checked.score >= 15 then
--           return reject("this looks like spam")
--       end
--   end
--
-- On top of it goes the envelope, as the mail server will write it down: SpamAssassin judges the client by the topmost Received, and the
-- sender by what this and X-Envelope-From say.

local backends = require "postern.internal.backends"
local servers = require "postern.internal.servers"
local spamc = require "postern.internal.spamc"
local system = require "postern.internal.system"
local transit = require "postern.internal.transit"

local spamassassin = {}

local TESTS_MAX, USER_MAX = 1000, 200
local options = system.options("spamassassin")
local pool = servers.new{ section = "spamassassin", sockets = options.sockets, connect_timeout = options.connect_timeout,
                          timeout = options.timeout }
local option_types = { changed = "boolean", report = "boolean", user = "string" }

local function is_user(user)
    return #user <= USER_MAX and not user:find("[^%w%.%-_@+=]")
end

if not is_user(options.user) then
    error("spamassassin.user: letters, digits and . - _ @ + = expected", 0)
end

local function check_options(given)
    if given ~= nil and type(given) ~= "table" then
        error("spamassassin.check: options is a table", 3)
    end
    for name, value in pairs(given or {}) do
        if not option_types[name] then
            error(("spamassassin.check: there is no option '%s'"):format(tostring(name)), 3)
        elseif type(value) ~= option_types[name] then
            error(("spamassassin.check: %s is a %s"):format(name, option_types[name]), 3)
        end
    end
    if given and given.user and not is_user(given.user) then
        error("spamassassin.check: user has letters, digits and . - _ @ + =, at most " .. USER_MAX, 3)
    end
    return given or {}
end

-- ---- which rules fitted ----

-- "A,B,C", as SYMBOLS answers.
local function symbols(body)
    local tests = {}
    for name in body:gmatch("[%w_]+") do
        if #tests < TESTS_MAX then
            tests[#tests + 1] = name
        end
    end
    return tests
end

-- Out of a report: " 1.5 NAME   what it means", below a line of dashes. One in words of its own has none.
local function reported(body)
    local tests, is_below = {}, false
    for line in body:gmatch("[^\r\n]+") do
        local name = is_below and #tests < TESTS_MAX and line:match("^[%s*]*%-?%d+%.?%d* ([%w_]+)")
        if name then
            tests[#tests + 1] = name
        end
        is_below = is_below or line:find("^[%s*]*%-%-%-+ %-%-%-") ~= nil
    end
    return tests
end

local function finish(result, is_report)
    result.tests = is_report and reported(result.body) or symbols(result.body)
    local is_text = utf8.len(result.body) ~= nil
    result.report = not is_report and "" or is_text and result.body or (result.body:gsub("[\128-\255]", "?"))
    result.body = nil
    return result
end

-- ---- check ----

---Asks spamd about a message, as received, or with { changed = true } as it would leave.
-- A table: status "spam" or "clean", is_spam, score, threshold, report, tests (names); or status "skipped" (larger than
-- spamassassin.max_size) or "unscanned" (spamassassin.on_failure = continue) and error. Nil and why with spamassassin.on_failure = return.
function spamassassin.check(msg, given)
    local kind, size = backends.content("spamassassin.check", msg)
    if kind ~= "msg" then
        error("spamassassin.check: a msg expected, not a part", 2)
    end
    given = check_options(given)
    local changed = given.changed and msg:to_eml()
    size = changed and #changed or size
    if size > options.max_size then
        return backends.skip("spamassassin", ("%d bytes are more than spamassassin.max_size"):format(size))
    end
    local is_report = given.report ~= false
    local request = { command = is_report and "REPORT" or "SYMBOLS", user = given.user or options.user,
                      mail = transit.mail(msg, changed or msg:raw()) }
    return backends.call("spamassassin", function()
        local result, why = servers.try(pool, function(stream) return spamc.ask(stream, request) end)
        return result and finish(result, is_report), why
    end, { msg = msg, on_failure = options.on_failure })
end

return spamassassin
