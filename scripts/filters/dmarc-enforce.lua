-- dmarc-enforce.lua: does what the domain in From asks for with mail that is not its own: SPF, DKIM and DMARC.
--
-- Mail of our own users is not judged. Other mail gets an Authentication-Results field, and fields that claim to be ours go. Mail that
-- fails is refused where the policy is reject, and held or marked where it is quarantine, as is mail whose From cannot be judged: a reader may
-- show an author in it whom nobody has judged. Needs worker.allow_network. Settings in [filter]:
--   dmarc_quarantine   hold: the mail server keeps it; or the name of a field that is set to "quarantine" (X-DMARC)
--   dmarc_temperror    tempfail: mail that cannot be judged because DNS fails comes later; else it goes on

local authres = require "postern.authres"
local dkim = require "postern.dkim"
local dmarc = require "postern.dmarc"
local log = require "postern.log"
local spf = require "postern.spf"

local quarantine = config.dmarc_quarantine ~= "" and config.dmarc_quarantine or "X-DMARC"
local temperror = config.dmarc_temperror

local function count(msg, judged, disposition)
    local done, why = dmarc.report(msg, judged, disposition)
    if done == nil then
        log.warn("DMARC report: %s", why)
    end
end

local function put_aside(msg, judged)
    if quarantine == "hold" then
        msg:hold("DMARC: " .. (judged.result == "fail" and "not from " .. judged.domain or judged.reason))
    else
        msg:set_header(quarantine, "quarantine")
    end
end

local function disposition_of(judged)
    if judged.result == "permerror" then
        return "quarantine"
    end
    return judged.result == "fail" and judged.policy or "none"
end

function filter_message(msg)
    if msg.direction == "out" then
        return
    end
    local found = { spf = spf.check(msg), dkim = dkim.verify(msg) }
    local judged = dmarc.check(msg, found)
    msg:log("dmarc", judged.result)
    if quarantine ~= "hold" and msg:header(quarantine) then
        msg:delete_header(quarantine)      -- whoever set it, it was not us
    end
    found.dmarc = judged
    authres.add(msg, found)
    local disposition = disposition_of(judged)
    count(msg, judged, disposition)
    if disposition == "reject" then
        return reject{ text = "the policy of " .. judged.domain .. " (DMARC) refuses this mail", dsn = "5.7.1" }
    elseif disposition == "quarantine" then
        put_aside(msg, judged)
    elseif judged.result == "temperror" and temperror == "tempfail" then
        return tempfail{ text = "the sender of this mail cannot be checked now: please come again", dsn = "4.7.5" }
    end
end
