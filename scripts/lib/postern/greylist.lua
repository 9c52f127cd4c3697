-- postern.greylist: mail from strangers has to come twice. A mail server tries again; most programs that send spam do not.
--
--   local greylist = require "postern.greylist"
--   function filter_recipient(msg, rcpt)
--       local seconds = greylist.check(msg, rcpt)
--       if seconds then return tempfail(("please try again in %d seconds"):format(seconds)) end
--   end
--
-- What is remembered, in the store, is the network of the client with the sender's domain and the recipient: an integer, the time
-- of the first try, or, once the mail has come again, the time of the last one with a minus. Options stand in [greylist].

local address = require "postern.internal.address"
local store = require "postern.store"
local system = require "postern.internal.system"

local greylist = {}

local PREFIX, PREFIX_CLIENT = "greylist:", "greylist-client:"
local KEY_MAX = 1000
local REFRESH = 3600 -- seconds within which an entry that is allowed is not written again
local options = system.options("greylist")
local spf = (options.spf_allow or options.spf_key) and require "postern.spf"

local option_names = { identity = "string", delay = "number" }

local function words(text)
    local list = {}
    for word in text:gmatch("[^%s,]+") do
        list[#list + 1] = word:lower()
    end
    return list
end

local allow_names = words(options.allow_names)
local allow_senders = words(options.allow_senders)
local allow_recipients = words(options.allow_recipients)

-- ---- who never waits ----

local function is_listed(value, patterns)
    for _, pattern in ipairs(patterns) do
        if address.matches(value, pattern) then
            return true
        end
    end
    return false
end

local function is_named(name)
    name = name:lower():gsub("%.$", "")
    for _, allowed in ipairs(allow_names) do
        if name == allowed or name:sub(-#allowed - 1) == "." .. allowed then
            return true
        end
    end
    return false
end

-- Why the mail does not wait, or nil. What costs nothing comes first.
local function why_allowed(msg, recipient, origin)
    if msg.direction == "out" and origin.ip == msg.conn.ip then
        return "sent by a user of ours"
    elseif not origin.ip then
        return "no address"
    elseif address.is_in(origin.ip, options.allow_networks) then
        return "network in the allow list"
    elseif #allow_recipients > 0 and is_listed(recipient, allow_recipients) then
        return "recipient in the allow list"
    elseif #allow_senders > 0 and is_listed(msg.sender, allow_senders) then
        return "sender in the allow list"
    elseif #allow_names > 0 and origin.hostname ~= "" and is_named(origin.hostname) then
        return "name in the allow list"
    end
    return nil
end

-- ---- what is remembered ----

-- Who sends: the one that was authenticated, or the network with the sender's domain.
local function client_of(msg, origin, identity)
    if identity then
        return "id=" .. identity
    end
    return address.block(address.bytes(origin.ip), options.prefix4, options.prefix6) .. "|" .. msg.sender_domain
end

-- A new key, of a mail that now begins to wait, and an old one that has waited: what becomes of the entry, and how long it lasts.
-- state tells what was found: wait (seconds), or since (of a mail that waited), or neither.
local function judge(entry, now, delay, state)
    state.wait, state.since = nil, nil
    if math.type(entry) ~= "integer" or entry == 0 then
        state.wait = delay
        return now, math.max(options.window, delay)
    end
    if entry < 0 then
        if now + entry < REFRESH then
            return entry
        end
        return -now, options.auto_allow
    end
    if now - entry < delay then
        state.wait = delay - math.max(now - entry, 0)
        return entry
    end
    state.since = now - entry
    return -now, options.auto_allow
end

local function is_known_client(client)
    if options.auto_allow_after == 0 then
        return false
    end
    local n = store.get(PREFIX_CLIENT .. client)
    return math.type(n) == "integer" and n >= options.auto_allow_after
end

-- One of its mails has come again. The count lasts as long as mail keeps coming.
local function count_client(client)
    if options.auto_allow_after > 0 then
        store.update(PREFIX_CLIENT .. client, function(n)
            n = math.type(n) == "integer" and n or 0
            return math.min(n + 1, options.auto_allow_after), options.auto_allow
        end)
    end
end

-- The count of a client that is known lasts on; written when an hour has passed, as entries are.
local function refresh_client(client, now)
    local refreshed = PREFIX_CLIENT .. "seen:" .. client
    if store.add(refreshed:sub(1, KEY_MAX), now, REFRESH) then
        count_client(client)
    end
end

-- ---- what is told ----

local function duration(seconds)
    return ("%02d:%02d:%02d"):format(seconds // 3600, seconds // 60 % 60, seconds % 60)
end

local function tell(msg, text)
    if options.header then
        local name = msg.conn.macros.j
        msg:set_header("X-Greylist", text .. (name and " by " .. name or "") .. "; " .. os.date("!%a, %d %b %Y %H:%M:%S +0000"))
    end
    return nil
end

-- ---- check ----

local function check_arguments(msg, rcpt, given)
    if type(msg) ~= "userdata" then
        error("greylist.check: a msg expected, not " .. type(msg), 3)
    end
    if type(rcpt) ~= "userdata" and type(rcpt) ~= "string" then
        error("greylist.check: a rcpt or an address expected, not " .. type(rcpt), 3)
    end
    for name, value in pairs(given) do
        if not option_names[name] then
            error(("greylist.check: there is no option '%s'"):format(tostring(name)), 3)
        elseif type(value) ~= option_names[name] then
            error(("greylist.check: %s is a %s"):format(name, option_names[name]), 3)
        end
    end
    if given.delay and not (given.delay >= 1 and given.delay <= 86400) then
        error("greylist.check: delay is in seconds, 1 to 86400", 3)
    end
end

-- Behind our own edge the header tells who sent, and before it has come there is nobody to judge.
local function origin_of(msg)
    local is_known, origin = pcall(function() return msg.conn.origin end)
    return is_known and origin or nil
end

local function passes_spf(msg)
    return spf and msg.sender_domain ~= "" and spf.check(msg).result == "pass"
end

---Seconds that the mail has to wait for this recipient, or nil; nil and why when the store cannot be used.
function greylist.check(msg, rcpt, given)
    given = given or {}
    check_arguments(msg, rcpt, given)
    local origin = origin_of(msg)
    if not origin then
        return nil
    end
    local recipient = tostring(rcpt)
    local allowed = why_allowed(msg, recipient, origin)
    local identity = given.identity
    if not allowed and passes_spf(msg) then
        allowed = options.spf_allow and "SPF pass" or nil
        identity = identity or options.spf_key and "spf:" .. msg.sender_domain or nil
    end
    if allowed then
        return tell(msg, "not delayed, " .. allowed)
    end
    local now = math.floor(system.now())
    local client = client_of(msg, origin, identity):sub(1, KEY_MAX - 400)
    if is_known_client(client) then
        refresh_client(client, now)
        return tell(msg, "not delayed, auto-allowed client")
    end
    local state = {}
    local key = (PREFIX .. client .. "|" .. recipient:lower()):sub(1, KEY_MAX)
    local delay = math.ceil(given.delay or options.delay)
    local entry, why = store.update(key, function(old) return judge(old, now, delay, state) end)
    if not entry then
        return nil, why
    elseif state.wait then
        return state.wait
    elseif state.since then
        count_client(client)
        return tell(msg, "delayed " .. duration(state.since))
    end
    return tell(msg, "not delayed, auto-allowed")
end

return greylist
