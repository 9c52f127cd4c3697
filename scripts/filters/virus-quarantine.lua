-- virus-quarantine.lua: keeps mail in which clamd finds a virus, and discards it; recipients who want to know get a note in its place.
--
-- Nobody gets the virus, and its sender, who is forged, gets no answer. The mail lies in the trap (posternctl trap list, show, release)
-- in case that clamd was wrong. Settings in [filter]:
--   virus_notes   recipients who get a note, between blanks: @example.net, postmaster@, ann@example.org; * for all; none: nobody does
--   virus_from    who the note is from: postmaster@ this mail server
-- The section [clamav] says where clamd is, and what becomes of mail that it cannot look at: a tempfail, unless you say otherwise.

local clamav = require "postern.clamav"
local log = require "postern.log"
local metrics = require "postern.metrics"
local found = metrics.counter("viruses", "mails in which clamd found a virus")

local wanted = {}
for pattern in (config.virus_notes or ""):gmatch("[^%s,]+") do
    wanted[#wanted + 1] = pattern
end
local sender = config.virus_from ~= "" and config.virus_from or nil
assert(not sender or tostring(sender):find("^[!-~]+@[!-~]+$"), "virus_from is an address")
local is_for_all = wanted[1] == "*"
local SUBJECT_MAX = 100

-- The recipients without a note, and how many have one.
local function choose(msg)
    local others, n = {}, 0
    for _, rcpt in ipairs(msg.recipients) do
        if is_for_all or #wanted > 0 and rcpt:matches(wanted) then
            n = n + 1
        else
            others[#others + 1] = rcpt
        end
    end
    return others, n
end

-- The way of a mail stays in it, so that a loop is seen.
local function received(msg)
    local kept, is_kept = {}, false
    for line in msg:raw_headers():gmatch("[^\n]*\n") do
        if not line:find("^[ \t]") then
            is_kept = line:lower():find("^received:") ~= nil
        end
        kept[#kept + 1] = is_kept and line or nil
    end
    return table.concat(kept)
end

local NOTE = [[
%sFrom: Mail server <%s>
To: undisclosed-recipients:;
Subject: A mail with a virus was kept from you
Date: %s
Message-ID: <virus.%s>
Auto-Submitted: auto-generated
MIME-Version: 1.0
Content-Type: text/plain; charset=utf-8
Content-Transfer-Encoding: 8bit

A mail for you carries a virus, and was not delivered:

  sender   %s
  subject  %s
  virus    %s

Senders of viruses are forged: do not answer. If you know better, ask
%s for it, and tell the name %s.
]]

local function put_note(msg, name, others)
    for _, rcpt in ipairs(others) do
        msg:delete_recipient(rcpt)
    end
    local from = sender or "postmaster@" .. (msg.conn.macros.j or "localhost")
    local subject = msg.subject:gsub("%c", " ")
    subject = subject:sub(1, (utf8.offset(subject, SUBJECT_MAX + 1) or #subject + 1) - 1)
    msg:replace_message(NOTE:format(received(msg), from, os.date("!%a, %d %b %Y %H:%M:%S +0000"), msg.uid .. from:match("@.*$"), msg.sender,
        subject, name, from, msg.uid))
    msg:set_sender("")
end

function filter_message(msg)
    local scanned, why = clamav.scan(msg)
    if not scanned then
        log.error("not scanned for viruses: %s", why)
        return tempfail("this cannot be scanned for viruses now")
    elseif scanned.status ~= "infected" then
        return
    end
    found:inc()
    msg:log("virus", scanned.name)
    local others, n = choose(msg)
    if not msg:trap{ mode = n == 0 and "store" or "copy", reason = "virus: " .. scanned.name } then
        return -- you have looked at it and released it
    elseif n == 0 then
        return discard()
    end
    put_note(msg, scanned.name, others)
end
