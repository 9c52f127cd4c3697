-- Calls every function and method that a filter can reach with junk of every type, in every place. Errors are welcome; a crash is not.
-- Returns a function of the objects of a hook.

local MAX_ARGUMENTS = 3

-- Those that would end the test rather than the process: waiting, and walking without end.
local skipped = {
    ["postern.async.sleep"] = true,
    ["_G.require"] = true,
    ["string.rep"] = true,
    ["table.concat"] = true,
    ["table.move"] = true,
    ["table.unpack"] = true,
    ["table.insert"] = true,
    ["table.remove"] = true,
    ["coroutine.close"] = true,
}

local function junk(objects)
    local cyclic = {}
    cyclic.self = cyclic
    local values = {
        true, false, 0, -1, 1, 2^53, math.mininteger, math.maxinteger, 0.5, 0/0, 1/0, "", "x", "a\0b", "a\r\nb: c", "\xff\xfe",
        ("x"):rep(70000), "X-Header", "a@example.org", "550", "5.7.1", {}, { "x" }, { x = 1 }, { text = "x" }, { [{}] = 1 }, cyclic,
        setmetatable({}, { __tostring = function() return 1 end, __index = function() error("x") end, __name = 7 }),
        function() end, function() error({}) end, coroutine.create(function() end), io.open("/dev/null"), accept(), reject,
    }
    for _, object in ipairs(objects) do
        values[#values + 1] = object
    end
    values.n = #values + 1 -- the last one is nil
    return values
end

local function call_with_junk(f, values, first)
    pcall(f)
    for i = 1, values.n do
        pcall(f, values[i])
        if first ~= nil then
            pcall(f, first)
            pcall(f, first, values[i])
        end
        for j = 1, values.n do
            if first ~= nil then
                pcall(f, first, values[i], values[j])
                pcall(f, first, values[i], values[j], values[(i + j) % values.n + 1])
            else
                pcall(f, values[i], values[j], values[(i + j) % values.n + 1])
            end
        end
    end
end

local names = {
    "id", "ip", "port", "hostname", "ptr", "rdns", "helo", "local_ip", "local_port", "daemon", "mta", "tls", "auth", "macros", "in_network", "is_local",
    "is_trusted", "origin", "state", "conn", "uid", "attempt", "sender", "sender_domain", "sender_local", "sender_args", "direction", "recipients",
    "set_sender", "add_recipient", "delete_recipient", "header", "headers", "raw_header", "each_header", "add_header", "insert_header", "set_header",
    "delete_header", "size", "subject", "message_id", "raw", "raw_headers", "raw_body", "text", "root", "parts", "walk", "urls", "charsets", "defects",
    "ambiguous", "to_eml", "hold", "replace_body", "append_text", "append_html", "log", "address", "domain", "localpart", "args", "mailer", "host", "user", "matches", "type",
    "params", "charset", "encoding", "disposition", "content_id", "filename", "filenames", "extension", "path", "depth", "parent", "is_container",
    "is_signed", "is_encrypted", "detected_type", "content", "hash", "has_extension", "name_matches", "no_such_field", "", 1, 0.5, true, {},
}

local function abuse_object(object, values)
    for _, name in ipairs(names) do
        pcall(function() object[name] = values[1] end)
        local ok, member = pcall(function() return object[name] end)
        if ok and type(member) == "function" then
            call_with_junk(member, values, object)
        elseif ok and type(member) == "userdata" then
            pcall(tostring, member)
            pcall(function() return member == object end)
        end
    end
    pcall(tostring, object)
    pcall(function() return #object end)
    pcall(function() return object() end)
    pcall(function() for _ in pairs(object) do end end)
    assert(getmetatable(object) == false)
end

local function abuse_library(library, prefix, values)
    for name, f in pairs(library) do
        if type(f) == "function" and not skipped[prefix .. "." .. tostring(name)] then
            call_with_junk(f, values)
        end
    end
end

return function(...)
    local objects = { ... }
    local values = junk(objects)
    for _, object in ipairs(objects) do
        abuse_object(object, values)
    end
    for _, name in ipairs{ "accept", "continue", "reject", "tempfail", "discard", "load", "print", "pcall", "xpcall", "rawset", "rawget", "rawequal",
                           "rawlen", "next", "select", "tostring", "tonumber", "collectgarbage", "warn" } do
        call_with_junk(_G[name], values)
    end
    for _, name in ipairs{ "postern.log", "postern.async" } do
        abuse_library(require(name), name, values)
    end
    for _, name in ipairs{ "coroutine", "io", "os", "utf8", "math", "debug", "package" } do
        abuse_library(_G[name], name, values)
    end
    return nil
end
