-- For test_modules.py: greylisting with what the test asks for, and a verdict that tells.
local greylist = require "postern.greylist"

function filter_recipient(msg, rcpt)
    local seconds, why = greylist.check(msg, rcpt, { identity = config.identity or nil, delay = config.delay or nil })
    if why then
        return tempfail("error: " .. why)
    elseif seconds then
        return tempfail("wait " .. seconds)
    end
end
