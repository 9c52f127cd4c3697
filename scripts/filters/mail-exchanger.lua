-- mail-exchanger.lua: what a mail server on the Internet asks about mail, in an order that costs little: a filter to start from.
--
-- At RCPT, where the sender reads why: block lists, then greylisting; postmaster and abuse are reached in spite of both. When the mail is
-- there: SPF, DKIM, DMARC and ARC, clamd and spamd, all at the same time. Mail of our own users is asked about viruses alone. The sections
-- [clamav], [spamassassin] and [greylist] have the rest. Needs worker.allow_network. Settings in [filter]:
--   mx_lists     block lists of addresses, between blanks: zen.example=127.0.0.2-11 bl.example; none: none is asked
--   mx_refuse    the score of spamd from which mail is refused (15); below, what it calls spam gets X-Spam-Flag: YES
--   mx_sealers   domains whose ARC seals are believed when forwarded mail fails DMARC, between blanks

local arc = require "postern.arc"
local async = require "postern.async"
local authres = require "postern.authres"
local clamav = require "postern.clamav"
local dmarc = require "postern.dmarc"
local dnsbl = require "postern.dnsbl"
local greylist = require "postern.greylist"
local log = require "postern.log"
local spamassassin = require "postern.spamassassin"

local lists = dnsbl.zones(config.mx_lists or "")
local refuse = config.mx_refuse or 15
local sealers = " " .. (config.mx_sealers or ""):lower() .. " "

-- Asked once for each mail, whoever it is for.
local function listed_by(msg)
    if msg.state.listed == nil and #lists > 0 then
        local zone, why = dnsbl.listed(msg, lists)
        msg.state.listed = zone or false
        if not zone and why then
            log.warn("block lists: %s", why)
        end
    end
    return msg.state.listed
end

function filter_recipient(msg, rcpt)
    if msg.direction == "out" or rcpt:matches{ "postmaster@", "abuse@" } then
        return
    end
    local zone = listed_by(msg)
    if zone then
        return reject{ text = ("%s is listed by %s"):format(msg.conn.origin.ip, zone), code = 554, dsn = "5.7.1" }
    end
    local seconds, why = greylist.check(msg, rcpt)
    if seconds then
        return tempfail{ text = ("we have not heard from you before: please try again in %d seconds"):format(seconds), dsn = "4.7.1" }
    elseif why then
        log.warn("greylist: %s", why)
    end
end

-- DMARC asks SPF and DKIM, and tells what they found.
local function authenticate(msg)
    local found = async.all{
        dmarc = function() return dmarc.check(msg) end,
        arc = function() return arc.verify(msg) end,
    }
    return { spf = found.dmarc.spf, dkim = found.dmarc.dkim, dmarc = found.dmarc, arc = found.arc }
end

-- Forwarding breaks SPF and, when the mail is changed, DKIM: then the word of a forwarder that we know counts.
local function policy_for(auth)
    local is_vouched = auth.arc.result == "pass" and sealers:find(" " .. auth.arc.domain:lower() .. " ", 1, true)
    if auth.dmarc.result == "permerror" then
        return "quarantine" -- From cannot be judged: a reader may show an author whom nobody has judged
    end
    return auth.dmarc.result == "fail" and not is_vouched and auth.dmarc.policy or "none"
end

local function tag(msg, auth, spam)
    authres.add(msg, auth)
    msg:delete_header("X-Spam-Flag") -- whoever set them, it was not us
    msg:delete_header("X-Spam-Score")
    msg:add_header("X-Spam-Score", spam.score and ("%.1f"):format(spam.score) or spam.status)
    if spam.is_spam or policy_for(auth) ~= "none" then
        msg:add_header("X-Spam-Flag", "YES")
    end
end

function filter_message(msg)
    local is_incoming = msg.direction == "in"
    local found = async.all{
        virus = function() return clamav.scan(msg) end,
        auth = is_incoming and function() return authenticate(msg) end or nil,
        spam = is_incoming and function() return spamassassin.check(msg, { report = false }) end or nil,
    }
    if not found.virus or is_incoming and not (found.auth and found.spam) then
        return tempfail("this mail cannot be judged now: please come again") -- why stands in the log
    elseif found.virus.status == "infected" then
        return reject{ text = "this mail carries a virus: " .. found.virus.name, code = 554, dsn = "5.7.1" }
    elseif not is_incoming then
        return
    elseif policy_for(found.auth) == "reject" then
        return reject{ text = ("the policy of %s (DMARC) refuses this mail"):format(found.auth.dmarc.domain), dsn = "5.7.1" }
    elseif found.spam.score and found.spam.score >= refuse then
        return reject{ text = ("this looks like spam (%.1f points)"):format(found.spam.score), code = 554, dsn = "5.7.1" }
    end
    tag(msg, found.auth, found.spam)
end
