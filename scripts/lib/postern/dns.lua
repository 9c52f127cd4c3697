-- postern.dns: questions to the domain name system.
--
--   local dns = require "postern.dns"
--   local exchanges, err = dns.query(msg.sender_domain, "MX")
--   if exchanges and exchanges.nxdomain then
--       return reject("the domain of the sender does not exist")
--   end

local address = require "postern.internal.address"
local async = require "postern.async"
local internal = require "postern.internal.dns"

local dns = { query = internal.query }

local CONFIRMED_MAX = 10 -- names: more are a joke (RFC 7208, section 4.6.4)

local function check_options(options)
    if options ~= nil and type(options) ~= "table" then
        error("dns.reverse: options is a table", 3)
    end
    for name, value in pairs(options or {}) do
        if name ~= "confirm" then
            error(("dns.reverse: there is no option '%s'"):format(tostring(name)), 3)
        end
        if type(value) ~= "boolean" then
            error("dns.reverse: confirm is a boolean", 3)
        end
    end
    return options or {}
end

local function has_address(list, bytes)
    for _, text in ipairs(list) do
        if address.bytes(text) == bytes then
            return true
        end
    end
    return false
end

-- Those of the names that lead back to the address; or nil and why, when none does and a look-up failed.
local function confirmed(names, bytes)
    local kind = #bytes == 4 and "A" or "AAAA"
    local questions, kept, err = {}, {}, nil
    for i = 1, math.min(#names, CONFIRMED_MAX) do
        questions[i] = function() return dns.query(names[i], kind) end
    end
    local answers = async.all(questions)
    for i, name in ipairs(names) do
        if answers[i] and has_address(answers[i], bytes) then
            kept[#kept + 1] = name
        end
        err = err or answers.errors[i]
    end
    if #kept == 0 and err then
        return nil, err
    end
    return kept
end

---The names of an address; with { confirm = true } only those that lead back to it.
function dns.reverse(ip, options)
    if type(ip) ~= "string" then
        error("bad argument #1 to 'dns.reverse' (string expected)", 2)
    end
    options = check_options(options)
    local bytes = address.bytes(ip)
    if not bytes then
        error("dns.reverse: '" .. ip .. "' is no address", 2)
    end
    local names, err = dns.query(address.reverse(bytes), "PTR")
    if not names then
        return nil, err
    end
    if not options.confirm or #names == 0 then
        return names
    end
    return confirmed(names, bytes)
end

return dns
