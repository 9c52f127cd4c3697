-- postern.internal.options: the checks of arguments that the modules for authentication share. Errors name the caller's place: the
-- filter's line, two levels up.

local crypto = require "postern.internal.signature"
local domain = require "postern.internal.domain"
local taglist = require "postern.internal.taglist"

local options_of = {}

---A copy of options, which are a table with these names and types, or nothing; msg is a message.
function options_of.check(what, msg, options, types)
    if type(msg) ~= "userdata" then
        error(("%s: a msg expected, not %s"):format(what, type(msg)), 3)
    end
    if options ~= nil and type(options) ~= "table" then
        error(what .. ": options is a table", 3)
    end
    local out = {}
    for name, value in pairs(options or {}) do
        if not types[name] then
            error(("%s: there is no option '%s'"):format(what, tostring(name)), 3)
        elseif type(value) ~= types[name] then
            error(("%s: %s is a %s"):format(what, name, types[name]), 3)
        end
        out[name] = value
    end
    return out
end

local function lower_names(what, list)
    local out = {}
    for i, name in ipairs(list) do
        if type(name) ~= "string" or not name:find("^[!-9<-~]+$") then
            error(what .. ": names of header fields expected", 4)
        end
        out[i] = name:lower()
    end
    return out
end

---What every signature of ours needs: key, domain, selector; the form of the body; names of fields in lower case.
function options_of.signer(what, options)
    if not crypto.is_key(options.key) then
        error(what .. ": key is what dkim.key gives", 3)
    end
    options.domain = options.domain and domain.normal(options.domain)
    if not options.domain or not domain.is_host(options.domain) then
        error(what .. ": domain is a domain", 3)
    elseif not options.selector or options.selector:find("[^%w%-_.]") or not domain.labels(options.selector) then
        error(what .. ": selector is the name of the key in DNS, before _domainkey", 3)
    end
    options.body = options.body or "relaxed"
    if options.body ~= "relaxed" and options.body ~= "simple" then
        error(what .. ": body is relaxed or simple", 3)
    end
    options.headers = options.headers and lower_names(what, options.headers)
    options.oversign = options.oversign and lower_names(what, options.oversign)
    if options.headers and not taglist.has(options.headers, "from") then
        error(what .. ": From must be among headers", 3)
    end
    return options
end

return options_of
