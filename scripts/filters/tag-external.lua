-- external-note.lua: a note at the end of mail that comes from outside, so that its readers think twice.
--
-- Signed and encrypted mail is left alone (append_text says so by returning false and why), since a note would break its
-- signature. Mail of our own users, known by network or by authentication, gets none.

local log = require "postern.log"

local note = [[

--
This mail came from outside. Take care with links and attachments.
]]

function filter_message(msg)
    if msg.direction == "out" then
        return
    end
    local ok, why = msg:append_text(note)
    if not ok then
        log.info("no note: %s", why)
    end
end
