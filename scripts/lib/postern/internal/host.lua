-- postern.internal.host: the addresses of a server's name, for the modules that connect to one.

local address = require "postern.internal.address"
local async = require "postern.async"
local dns = require "postern.dns"

local host = {}

local ADDRESSES_MAX = 8 -- of each family; one has as many servers as it likes, and we try them in turn

---IPv4 before IPv6, as text without brackets; an address is its own. nil and why: "timeout", what DNS says; nil: it has none.
-- seconds: how long that may take; nil: the caller's own time.
function host.addresses(name, seconds)
    if name == "localhost" or name:sub(-10) == ".localhost" then -- RFC 6761, section 6.3
        return { "127.0.0.1", "::1" }
    elseif address.bytes(name) then
        return { name }
    end
    local function ask()
        return async.all{ function() return dns.query(name, "A") end, function() return dns.query(name, "AAAA") end }
    end
    local found
    if seconds then
        found = async.timeout(seconds, ask)
    else
        found = ask()
    end
    if not found then
        return nil, "timeout"
    end
    local list = {}
    for kind = 1, 2 do
        for i = 1, math.min(found[kind] and #found[kind] or 0, ADDRESSES_MAX) do
            list[#list + 1] = found[kind][i]
        end
    end
    if #list > 0 then
        return list
    end
    local err = found.errors[1] or found.errors[2]
    return nil, err and tostring(err) or nil
end

return host
