-- postern.internal.smtp_places: where mail servers are, as smtp_client.open takes them: { path = } or { address =, port =, name = }.

local address = require "postern.internal.address"
local dns = require "postern.dns"
local host = require "postern.internal.host"
local system = require "postern.internal.system"

local places = {}

local PORT = 25
local EXCHANGES_MAX = 20 -- of a domain
local options = system.options("smtp")

local function addresses(name, seconds)
    return host.addresses((name:match("^%[(.*)%]$") or name):lower(), seconds)
end

-- The servers of a domain, the best first; nil and why; nil, why and true: it has none.
local function exchanges(domain)
    local list, err = dns.query(domain, "MX")
    if not list then
        return nil, err
    elseif list.nxdomain then
        return nil, "there is no such domain", true
    end
    table.sort(list, function(a, b) return a.preference < b.preference end)
    local names = {}
    for i, item in ipairs(list) do
        names[i] = item.exchange:gsub("%.$", "")
    end
    if #names == 1 and names[1] == "" then
        return nil, "the domain takes no mail", true -- RFC 7505
    end
    return #names > 0 and names or { domain } -- RFC 5321, section 5.1
end

---The servers that take mail for a domain; nil and why; nil, why and true: no server ever will.
function places.of_domain(domain, port)
    local names, err, is_final = exchanges(domain)
    if not names then
        return nil, err, is_final
    end
    local found, n_left_out = {}, 0
    for i = 1, math.min(#names, EXCHANGES_MAX) do
        local name = names[i]
        local ips, why = addresses(name)
        err = err or why
        for _, ip in ipairs(ips or {}) do
            if address.is_in(ip, options.check_never) then
                n_left_out = n_left_out + 1
            elseif #found < options.check_servers then
                found[#found + 1] = { address = ip, port = port, name = name }
            end
        end
        if #found == options.check_servers then
            break
        end
    end
    if #found > 0 then
        return found
    elseif n_left_out > 0 then
        return nil, "its mail server has an address in smtp.check_never"
    elseif err then
        return nil, err
    elseif #names > EXCHANGES_MAX then
        return nil, ("the first %d of its %d mail servers have no address"):format(EXCHANGES_MAX, #names)
    end
    return nil, "its mail servers have no address", true
end

---Those that options name: path, or host and port; nil and why. seconds: how long looking up may take.
function places.given(given, seconds)
    if given.path then
        return { { path = given.path } }
    end
    local ips, err = addresses(given.host, seconds)
    if not ips then
        return nil, err or given.host .. " has no address"
    end
    local found = {}
    for i, ip in ipairs(ips) do
        found[i] = { address = ip, port = given.port or PORT, name = given.host }
    end
    return found
end

return places
