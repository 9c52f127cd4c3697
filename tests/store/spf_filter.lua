-- For test_modules.py: greylisting with SPF answers that the sender's name tells, in place of look-ups.
package.loaded["postern.spf"] = {
    check = function(msg)
        return { result = msg.sender_local:match("^pass") and "pass" or "softfail" }
    end,
}
local greylist = require "postern.greylist"

function filter_recipient(msg, rcpt)
    local seconds = greylist.check(msg, rcpt)
    if seconds then
        return tempfail("wait " .. seconds)
    end
end
