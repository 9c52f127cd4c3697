-- postern.authres: the Authentication-Results field (RFC 8601), and away with fields that only claim to be ours.
--
--   local authres = require "postern.authres"
--   authres.add(msg, { id = "mx.example.org", spf = spf.check(msg), dkim = dkim.verify(msg) })

local authres_value = require "postern.internal.authres_value"
local dkim_message = require "postern.internal.dkim_message"
local options_of = require "postern.internal.options"
local skip = require "postern.internal.skip"

local authres = {}

local add_names = { id = "string", auth = "boolean", spf = "table", dkim = "table", dmarc = "table", arc = "table", other = "table" }
local remove_names = { id = "string" }

local function check_id(what, id)
    if id and not id:find("^[%w%-_.]+$") then
        error(what .. ": id is the name of our server", 3)
    end
end

-- Our name as the mail server says it.
local function id_of(msg, id)
    return (id or msg.macros.j or "localhost"):lower()
end

-- The name at the front of a field's value, without comments and quotes, and what may come between it and the first semicolon.
local function claimed(value)
    local text = skip.plain(value, true):match("^[^;]*"):lower()
    return text:match("^[ \t\r\n]*([^ \t\r\n/]+)") or ""
end

---Takes away the Authentication-Results fields of the message as received that have our name. How many there were.
function authres.remove(msg, options)
    options = options_of.check("authres.remove", msg, options, remove_names)
    check_id("authres.remove", options.id)
    if not msg:raw_header("Authentication-Results") then
        return 0
    end
    local id, n = id_of(msg, options.id), 0
    local message = dkim_message.new(msg, false)
    for nth, number in ipairs(message.by_name["authentication-results"] or {}) do
        local name = claimed(message:value(number))
        if name == id or name == id .. "." then
            msg:delete_header("Authentication-Results", nth)
            n = n + 1
        end
    end
    return n
end

---Adds a field with results on top, after those that claim to be ours are gone.
function authres.add(msg, options)
    options = options_of.check("authres.add", msg, options, add_names)
    check_id("authres.add", options.id)
    local id = id_of(msg, options.id)
    authres.remove(msg, { id = id })
    if options.auth then
        options.auth = msg.conn.auth
    end
    msg:insert_header(0, "Authentication-Results", authres_value.make(id, options))
end

return authres
