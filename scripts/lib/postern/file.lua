-- postern.file: files that a filter goes by, such as lists and tables: read when it is loaded, and again when they have changed.
--
--   local file = require "postern.file"
--   local wanted = file.watch(file.beside("wanted.txt"), file.map)
--   function filter_recipient(msg, rcpt)
--       if wanted()[rcpt.address:lower()] == "no" then return reject("no such user") end
--   end
--
-- Each worker looks for itself, when the value is asked for. A file that is gone or wrong changes nothing: what was read last stays.

local log = require "postern.log"

local file = {}

local REFRESH, MAX, BLOCK = 60, 16 * 1024 * 1024, 65536

-- ---- reading ----

local function read(path, max)
    local handle, why = io.open(path)
    if not handle then
        return nil, why
    end
    local blocks, size, block, err = {}, 0, nil, nil
    repeat
        block, err = handle:read(BLOCK)
        blocks[#blocks + 1] = block
        size = size + #(block or "")
    until not block or size > max
    handle:close()
    if err then
        return nil, path .. ": " .. err
    elseif size > max then
        return nil, ("%s: larger than %d bytes"):format(path, max)
    end
    return table.concat(blocks)
end

-- The value, or nil and why there is none; an error in parse is one, too.
local function parsed(path, content, parse)
    local is_good, value, why = pcall(parse, content)
    if is_good and value ~= nil then
        return value
    end
    return nil, ("%s: %s"):format(path, tostring(is_good and (why or "nothing came of it") or value))
end

-- ---- arguments ----

local TYPES = { refresh = "number", max = "number" }

local function check(path, parse, options)
    if type(path) ~= "string" or path == "" then
        error("file.watch: a path expected, not " .. (path == "" and "an empty text" or type(path)), 3)
    elseif parse ~= nil and type(parse) ~= "function" then
        error("file.watch: parse is a function, not " .. type(parse), 3)
    elseif options ~= nil and type(options) ~= "table" then
        error("file.watch: options is a table", 3)
    end
    for name, value in pairs(options or {}) do
        if not TYPES[name] then
            error(("file.watch: there is no option '%s'"):format(tostring(name)), 3)
        elseif type(value) ~= "number" or not (value >= 0) then
            error(("file.watch: %s is a number, not negative"):format(name), 3)
        end
    end
    return options or {}
end

-- ---- watch ----

---Reads a file, now, and again when the result is called later than refresh seconds after the last look and it has changed.
-- parse: makes a value of its content, or nil and why it cannot be; without one the value is the content. Raises when there is no value now.
function file.watch(path, parse, options)
    options = check(path, parse, options)
    local refresh, max = options.refresh or REFRESH, options.max or MAX
    parse = parse or function(content) return content end
    local content, why = read(path, max)
    local value, looked = nil, os.time()
    if content then
        value, why = parsed(path, content, parse)
    end
    if value == nil then
        error(why, 2)
    end
    local function look()
        local new, problem = read(path, max)
        if new == content then
            return
        elseif new then
            local made
            made, problem = parsed(path, new, parse)
            if made ~= nil then
                content, value = new, made
                log.info("%s was read again", path)
                return
            end
        end
        log.warn("what was read last stays in force: %s", problem)
    end
    return function()
        local now = os.time()
        if now - looked >= refresh or now < looked then
            looked = now
            look()
        end
        return value
    end
end

-- ---- what files hold ----

---A table by the first word of each line, in lower case, of the rest of the line; lines that begin with # are remarks.
function file.map(content)
    local map, n = {}, 0
    for line in (content .. "\n"):gmatch("([^\n]*)\n") do
        n = n + 1
        local key, value = line:match("^%s*([^%s#]%S*)%s*(.-)%s*$")
        if key then
            key = key:lower()
            if map[key] then
                return nil, ("line %d: %s is there twice"):format(n, key)
            end
            map[key] = value
        end
    end
    return map
end

---The path of a file beside the filter, or in one of the folders of worker.module_path; nil when there is none.
function file.beside(name)
    if type(name) ~= "string" or not name:find("^[^/]") then
        error("file.beside: the name of a file expected", 2)
    end
    for folder in package.path:gmatch("([^;]*/)%?%.lua") do
        local handle = io.open(folder .. name)
        if handle then
            handle:close()
            return folder .. name
        end
    end
    return nil
end

return file
