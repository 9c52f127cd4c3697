-- spam-score.lua: asks spamd about mail from outside, tags it with the score, and refuses what has a high one.
--
-- Settings, in [filter]:
--   spam_refuse = 15      the score from which mail is refused; 0: none is
--   spam_subject =        what goes before the subject of spam: [spam]; empty: nothing
--   spam_users = no       mail of our own users, and of our own networks, is checked too
-- What is spam (X-Spam-Flag: YES) is what spamd calls so. The section [spamassassin] of the configuration says where it is, and
-- what becomes of mail when it is away: a tempfail, unless you say otherwise.

local metrics = require "postern.metrics"
local spamassassin = require "postern.spamassassin"
local judged = metrics.counter("spam", "mails by what spamd and their score made of them")

local refuse = config.spam_refuse or 15
local subject = config.spam_subject or ""
local TESTS_MAX = 40

-- Anybody can write these; who reads them believes that they are ours.
local function remove_foreign(msg)
    for _, name in ipairs{ "X-Spam-Flag", "X-Spam-Status", "X-Spam-Score" } do
        if msg:raw_header(name) then
            msg:delete_header(name)
        end
    end
end

local function tag(msg, checked)
    local tests = table.concat(checked.tests, ",", 1, math.min(#checked.tests, TESTS_MAX))
    msg:add_header("X-Spam-Score", ("%.1f"):format(checked.score))
    msg:add_header("X-Spam-Status", ("%s, score=%.1f required=%.1f tests=%s"):format(checked.is_spam and "Yes" or "No", checked.score,
        checked.threshold, tests ~= "" and tests or "none"))
    if not checked.is_spam then
        return
    end
    msg:add_header("X-Spam-Flag", "YES")
    if subject ~= "" then
        msg:set_header("Subject", subject .. " " .. msg.subject)
    end
end

function filter_message(msg)
    remove_foreign(msg)
    if msg.conn.is_trusted and not config.spam_users then
        return
    end
    local checked = spamassassin.check(msg, { report = false })
    if not checked or not checked.score then
        return -- too large, or nobody answers and that is to be no hindrance
    end
    msg:log("spam", ("%.1f"):format(checked.score))
    if refuse > 0 and checked.score >= refuse then
        judged:inc(1, { verdict = "refused" })
        return reject{ text = ("this looks like spam (%.1f points)"):format(checked.score), code = 554, dsn = "5.7.1" }
    end
    judged:inc(1, { verdict = checked.is_spam and "tagged" or "passed" })
    tag(msg, checked)
end
