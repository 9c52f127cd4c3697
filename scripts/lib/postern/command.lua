-- postern.command: scanners that speak in lines, over a dialogue that is described instead of programmed.
--
--   local command = require "postern.command"
--   local savdi = command.server{ name = "savdi", dialogue = "savdi", sockets = "inet:4010@127.0.0.1" }
--   function filter_message(msg)
--       local scanned = savdi:scan(msg)
--       if scanned.status == "infected" then
--           return reject("this mail carries " .. scanned.name)
--       end
--   end
--
-- Clean is what the last line of the answer says in the words for it, when no line before it named anything.

local backends = require "postern.internal.backends"
local servers = require "postern.internal.servers"
local system = require "postern.internal.system"

local command = {}

local LINE_MAX, LINES_MAX, STEPS_MAX = 1000, 1000, 16
local options = system.options("command")

-- steps, in order: send (a text; {size} is how many bytes the content has), content, expect (of a line that the server then says).
-- infected: of a line; what it captures is the name. last: of the line that ends the answer. clean: of that one. All are Lua patterns.
local dialogues = {
    -- Sophos' SAVDI, protocol SSSP/1.0
    savdi = {
        steps = {
            { expect = "^OK SSSP/1%.0" },
            { send = "SSSP/1.0\n", expect = "^ACC " },
            { send = "SCANDATA {size}\n", expect = "^ACC " },
            { content = true },
        },
        infected = "^VIRUS (%S+)", last = "^DONE ", clean = "^DONE OK 0000",
    },
    -- F-Prot's fpscand, version 6
    fprot = {
        steps = { { send = "SCAN STREAM mail SIZE {size}\n" }, { content = true } },
        infected = "^%d+ <infected: ([^>]+)>", last = "^%d+ <", clean = "^0 <clean>",
    },
}

-- ---- what is described ----

local function check_pattern(name, pattern)
    if type(pattern) ~= "string" or not pcall(string.find, "", pattern) then
        error(("command.server: %s is a Lua pattern"):format(name), 4)
    end
end

local step_types = { send = "string", content = "boolean", expect = "string" }

local function check_steps(steps)
    if type(steps) ~= "table" or #steps == 0 or #steps > STEPS_MAX then
        error(("command.server: steps is a list of 1 to %d"):format(STEPS_MAX), 4)
    end
    local has_content = false
    for _, step in ipairs(steps) do
        for name, value in pairs(step) do
            if step_types[name] ~= type(value) then
                error("command.server: a step has send, content, expect", 4)
            end
        end
        if step.expect then
            check_pattern("expect", step.expect)
        end
        has_content = has_content or step.content
    end
    if not has_content then
        error("command.server: no step sends the content", 4)
    end
end

local function check_dialogue(dialogue)
    if type(dialogue) == "string" then
        return dialogues[dialogue] or error(("command.server: there is no dialogue '%s'"):format(dialogue), 3)
    elseif type(dialogue) ~= "table" then
        error("command.server: dialogue is the name of one, or a table", 3)
    end
    check_steps(dialogue.steps)
    for _, name in ipairs{ "infected", "last", "clean" } do
        check_pattern(name, dialogue[name])
    end
    return dialogue
end

-- ---- the dialogue ----

local function take_step(stream, step, content, size)
    local ok, why = true, nil
    if step.send then
        ok, why = stream:write((step.send:gsub("{size}", tostring(size))))
    end
    if ok and step.content then
        ok, why = stream:write(content)
    end
    if ok and step.expect then
        local line
        line, why = stream:read_line(LINE_MAX)
        ok = line and line:find(step.expect) ~= nil
        why = line and ("it says %q"):format(backends.name(line)) or why
    end
    return ok, why
end

local function read_answer(stream, dialogue)
    local name
    for _ = 1, LINES_MAX do
        local line, why = stream:read_line(LINE_MAX)
        if not line then
            return nil, why
        end
        name = name or line:match(dialogue.infected)
        if line:find(dialogue.last) then
            if name then
                return { status = "infected", name = backends.name(tostring(name)) }
            elseif line:find(dialogue.clean) then
                return { status = "clean" }
            end
            return nil, ("it says %q"):format(backends.name(line))
        end
    end
    return nil, "too long"
end

local function ask(stream, dialogue, content, size)
    for _, step in ipairs(dialogue.steps) do
        local ok, why = take_step(stream, step, content, size)
        if not ok then
            return nil, why
        end
    end
    return read_answer(stream, dialogue)
end

-- ---- servers ----

local server = {}
server.__index = server

---Asks about a message as received, or the decoded content of a part: a result as of clamav.scan.
function server:scan(content)
    local kind, size = backends.content("scan", content)
    local msg = kind == "msg" and content or backends.message()
    if kind and size > options.max_size then
        return backends.skip(self.name, ("%d bytes are more than command.max_size"):format(size), msg)
    end
    return backends.call(self.name, function()
        if not kind then
            return nil, size
        end
        return servers.try(self.pool, function(stream) return ask(stream, self.dialogue, content, size) end)
    end, { msg = msg, content = content, on_failure = self.on_failure })
end

local server_types = { name = "string", sockets = "string", on_failure = "string" }
local POLICIES = { tempfail = true, continue = true, ["return"] = true }

---A scanner: name (in the log, and of its own breaker), sockets as of clamav.sockets, dialogue ("savdi", "fprot", or a table), on_failure.
function command.server(given)
    if type(given) ~= "table" then
        error("command.server: a table expected", 2)
    end
    for name, value in pairs(given) do
        if name ~= "dialogue" and server_types[name] ~= type(value) then
            error(("command.server: there is no option '%s', or it is no %s"):format(tostring(name), server_types[name] or "such thing"), 2)
        end
    end
    if not (given.name or ""):find("^[%w_-]+$") or #given.name > 64 then
        error("command.server: name has letters, digits, _ and -, at most 64", 2)
    elseif given.on_failure and not POLICIES[given.on_failure] then
        error("command.server: on_failure is tempfail, continue or return", 2)
    end
    local pool = servers.new{ section = given.name, sockets = given.sockets or "", connect_timeout = options.connect_timeout,
                              timeout = options.timeout }
    return setmetatable({ name = given.name, pool = pool, dialogue = check_dialogue(given.dialogue),
                          on_failure = given.on_failure or options.on_failure }, server)
end

return command
