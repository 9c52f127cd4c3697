-- The world as a file of tests says it is: answers of DNS, and of back ends. Lives in the state of the tests; filters that they play
-- ask here in place of the network. dns_answers and fake_backend are globals of the tests.

local address = require "postern.internal.address"

local world = {}

local CNAMES_MAX, DELAY_MAX = 16, 60

-- By name in lower case, what dns_answers was given; by name of a section, what fake_backend was.
local names, fakes = {}, {}

local FAILURES = { nxdomain = true, timeout = true, servfail = true, refused = true, network = true }

-- ---- what is answered ----

local function is_number(value)
    return math.type(value) == "integer" and value >= 0 and value <= 65535
end

local function is_text(value)
    return type(value) == "string"
end

local function is_address(bytes)
    return function(value)
        return is_text(value) and #(address.bytes(value) or "") == bytes
    end
end

local TYPES = {
    A = is_address(4), AAAA = is_address(16), CNAME = is_text, NS = is_text, PTR = is_text, TXT = is_text,
    MX = function(value)
        return type(value) == "table" and is_number(value.preference) and is_text(value.exchange)
    end,
    SRV = function(value)
        return type(value) == "table" and is_number(value.priority) and is_number(value.weight) and is_number(value.port) and is_text(value.target)
    end,
}

local function check_records(name, kind, records)
    local is_good = TYPES[kind]
    if not is_good then
        error(("dns_answers: %s: there is no type '%s'"):format(name, tostring(kind)), 4)
    elseif type(records) ~= "table" then
        error(("dns_answers: %s: %s is a list"):format(name, kind), 4)
    end
    for i = 1, #records do
        if not is_good(records[i]) then
            error(("dns_answers: %s: number %d is no %s record"):format(name, i, kind), 4)
        end
    end
end

local function check_answer(name, answer)
    if type(answer) == "string" then
        if not FAILURES[answer] then
            error(("dns_answers: %s: nxdomain, timeout, servfail, refused or network expected, not '%s'"):format(name, answer), 3)
        end
    elseif type(answer) == "table" then
        for kind, records in pairs(answer) do
            if kind ~= "delay" then
                check_records(name, kind, records)
            elseif not (math.type(records) and records >= 0 and records <= DELAY_MAX) then
                error(("dns_answers: %s: delay is a number of seconds, up to %d"):format(name, DELAY_MAX), 3)
            end
        end
    else
        error(("dns_answers: %s: a table or a text expected, not %s"):format(name, type(answer)), 3)
    end
end

-- An address stands for the name that its PTR records are under.
local function normal(name)
    local bytes = address.bytes(name)
    return bytes and address.reverse(bytes) or (name:lower():gsub("%.$", ""))
end

---What names answer, from now on: a table of records by type, with delay in seconds; or how they fail. Other names do not exist.
function world.dns_answers(answers)
    if type(answers) ~= "table" then
        error("dns_answers: a table expected, not " .. type(answers), 2)
    end
    for name, answer in pairs(answers) do
        if type(name) ~= "string" then
            error("dns_answers: a table by name expected", 2)
        end
        check_answer(name, answer)
    end
    for name, answer in pairs(answers) do
        names[normal(name)] = answer
    end
end

---What a back end answers, from now on: a table, or a function that is given the request and returns a result, or nil and why.
function world.fake_backend(name, fake)
    if type(name) ~= "string" then
        error("fake_backend: the name of a back end expected, not " .. type(name), 2)
    elseif type(fake) ~= "function" and type(fake) ~= "table" then
        error("fake_backend: a function or a table expected, not " .. type(fake), 2)
    end
    fakes[name] = fake
end

-- ---- answering ----

local ORDER = { MX = "preference", SRV = "priority" }

local function sorted(records, kind)
    local list = { table.unpack(records) }
    local by = ORDER[kind]
    if by then
        table.sort(list, function(a, b) return a[by] < b[by] end)
    end
    return list
end

-- Records, or nil and how it failed; and how long that took.
function world.query(name, kind)
    local delay = 0
    name = normal(name)
    for _ = 0, CNAMES_MAX do
        local answer = names[name] or "nxdomain"
        if answer == "nxdomain" then
            return { nxdomain = true }, nil, delay
        elseif type(answer) == "string" then
            return nil, answer .. " (simulated)", delay
        end
        delay = delay + (answer.delay or 0)
        if answer[kind] or not answer.CNAME then
            return sorted(answer[kind] or {}, kind), nil, delay
        end
        name = normal(answer.CNAME[1] or "")
    end
    return nil, "servfail (simulated: too many CNAMEs)", delay
end

function world.call(name, request)
    local fake = fakes[name]
    if not fake then
        return nil, ("the test has no fake_backend(%q, …)"):format(name)
    elseif type(fake) == "table" then
        return fake
    end
    return fake(request)
end

return world
