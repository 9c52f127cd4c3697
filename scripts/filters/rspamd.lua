-- rspamd.lua: asks rspamd about each mail, changes the header as it wants, and does what it recommends.
--
--   reject, soft reject           refused, for good or for now, with its text when it has one
--   greylist                      has to come twice, if it is a stranger's (section [greylist]); rspamd's own greylisting says soft reject
--   add header, rewrite subject   gets X-Spam: Yes, and the subject that it wants
--   quarantine, discard           held by the mail server, or thrown away
--
-- Mail of our own users goes to rspamd as well, with the user's name: it has rules of its own for them, and may sign it. Needs worker.allow_network.
-- The section [rspamd] says where it is, and what becomes of mail that it cannot judge: a tempfail, unless you say otherwise. Settings in [filter]:
--   rspamd_greylist   no: what it calls greylist is taken (yes)
--   rspamd_mark       the name of the field (X-Spam)

local greylist = require "postern.greylist"
local log = require "postern.log"
local metrics = require "postern.metrics"
local rspamd = require "postern.rspamd"
local judged = metrics.counter("rspamd", "mails by what rspamd recommended")

local mark = config.rspamd_mark ~= "" and config.rspamd_mark or "X-Spam"

local function text_of(result, default)
    local text = result.messages.smtp_message
    return type(text) == "string" and text ~= "" and text or default
end

local function put_mark(msg)
    msg:add_header(mark, "Yes")
end

-- The longest that one of its recipients waits: the mail server has one answer for all.
local function wait(msg)
    if config.rspamd_greylist == false then
        return nil
    end
    local longest
    for _, rcpt in ipairs(msg.recipients) do
        local seconds, why = greylist.check(msg, rcpt)
        if why then
            log.warn("greylist: %s", why)
        end
        longest = seconds and math.max(seconds, longest or 0) or longest
    end
    return longest and tempfail{ text = ("we have not heard from you before: please try again in %d seconds"):format(longest), dsn = "4.7.1" }
end

local answers = {
    ["reject"] = function(_, result) return reject{ text = text_of(result, "this looks like spam"), code = 554, dsn = "5.7.1" } end,
    ["soft reject"] = function(_, result) return tempfail{ text = text_of(result, "please try again later"), dsn = "4.7.1" } end,
    ["greylist"] = wait,
    ["add header"] = put_mark,
    ["rewrite subject"] = put_mark,
    ["quarantine"] = function(msg, result) msg:hold(("rspamd: %.1f points"):format(result.score)) end,
    ["discard"] = function() return discard() end,
}

function filter_message(msg)
    msg:delete_header(mark) -- whoever set it, it was not us
    local result = rspamd.check(msg)
    if not result or not result.action then
        return -- nobody answers, and that is to be no hindrance
    end
    msg:log("rspamd", ("%s %.1f"):format(result.action, result.score))
    judged:inc(1, { action = answers[result.action] and result.action or "no action" })
    rspamd.apply(msg, result)
    local answer = answers[result.action]
    return answer and answer(msg, result)
end
