-- greylisting.lua: mail from strangers has to come twice; those who did are let through from then on.
--
-- The options stand in the section [greylist] of the configuration: how long a mail waits, who never does. Mail of our own users
-- never waits. When the store cannot be used, nobody waits.

local greylist = require "postern.greylist"
local log = require "postern.log"

function filter_recipient(msg, rcpt)
    local seconds, why = greylist.check(msg, rcpt)
    if why then
        log.warn("greylist: %s", why)
    elseif seconds then
        return tempfail{
            text = ("we have not heard from you before: please try again in %d seconds"):format(seconds),
            code = 451,
            dsn = "4.7.1",
        }
    end
end
