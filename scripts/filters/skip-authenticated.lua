-- skip-authenticated.lua: asks spamd about mail of strangers, and not about that of authenticated users and of our own networks.
--
-- Users sit at home and in trains, in networks that block lists have for good reasons, and write short mails with large pictures: to
-- SpamAssassin they look like those whom it was made for. What it costs when a password is stolen is bounded: a user who sends more than
-- skip_rate mails in an hour is checked like everybody else, until that is over. Settings in [filter]:
--   skip_networks   networks besides worker.trusted_networks, between blanks: 192.0.2.0/24 2001:db8::/32
--   skip_rate       mails in an hour that an authenticated user may send unchecked (100); 0: any number
--   skip_refuse     the score from which mail is refused (15)
-- Mail below that which spamd calls spam gets X-Spam-Flag: YES. The section [spamassassin] says where it is.

local log = require "postern.log"
local ratelimit = require "postern.ratelimit"
local spamassassin = require "postern.spamassassin"

local rate = config.skip_rate or 100
local refuse = config.skip_refuse or 15
local networks = {}
for network in (config.skip_networks or ""):gmatch("[^%s,]+") do
    networks[#networks + 1] = network
end

-- nil for one that sends too many. When the store cannot be used, nobody does.
local function user_of(conn)
    local user = conn.auth and conn.auth.user
    if not user or rate == 0 then
        return user
    end
    local allowed, why = ratelimit.hit("skip:" .. user:lower():sub(1, 256), rate, 3600)
    if allowed == nil then
        log.warn("rate of %s: %s", user, why)
    elseif not allowed then
        log.warn("%s has sent more than %d mails in an hour: checked", user, rate)
        return nil
    end
    return user
end

-- Why the mail is not checked, or nil.
local function why_skipped(msg)
    local conn = msg.conn
    if conn.auth then
        local user = user_of(conn)
        return user and "user " .. user
    elseif msg.direction == "out" then
        return conn.is_local and "this machine" or "trusted network"
    elseif #networks > 0 and conn:in_network(table.unpack(networks)) then
        return "own network"
    end
end

function filter_message(msg)
    msg:delete_header("X-Spam-Flag") -- whoever set it, it was not us
    local why = why_skipped(msg)
    if why then
        msg:log("spam_skipped", why)
        return
    end
    local checked = spamassassin.check(msg, { report = false })
    if not checked or not checked.score then
        return -- too large, or nobody answers and that is to be no hindrance
    end
    msg:log("spam", ("%.1f"):format(checked.score))
    if checked.score >= refuse then
        return reject{ text = ("this looks like spam (%.1f points)"):format(checked.score), code = 554, dsn = "5.7.1" }
    elseif checked.is_spam then
        msg:add_header("X-Spam-Flag", "YES")
    end
end
