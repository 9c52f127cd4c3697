-- postern.internal.suffixes: the list of public suffixes (publicsuffix.org): which domain is the highest that can be registered.

local punycode = require "postern.internal.punycode"

local suffixes = {}
suffixes.__index = suffixes

---Reads a list. Nil and why.
function suffixes.read(path)
    local file, why = io.open(path, "r")
    if not file then
        return nil, why
    end
    local rules, n = {}, 0
    for line in file:lines() do
        local rule = not line:find("^//") and line:match("^%S+")
        local name = rule and punycode.domain(rule)
        if name then
            rules[name], n = true, n + 1
        end
    end
    file:close()
    if n == 0 then
        return nil, path .. ": there is no rule"
    end
    return setmetatable({ rules = rules }, suffixes)
end

---The suffix with one label more; a name that is a suffix is its own.
function suffixes:organizational(name)
    local rules, below, rest = self.rules, nil, name
    while rest do
        local above = rest:match("^[^.]*%.(.+)$")
        if rules["!" .. rest] then
            return rest
        elseif rules[rest] or (above and rules["*." .. above]) then
            return below or name
        end
        below, rest = rest, above
    end
    return name:match("([^.]+%.[^.]+)$") or name
end

return suffixes
