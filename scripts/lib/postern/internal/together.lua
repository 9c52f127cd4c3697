-- postern.internal.together: what one call of a module asks at the same time. It is one call still: what goes wrong in a part raises here.

local async = require "postern.async"

local together = {}

local AT_ONCE = 50 -- of the tasks that a hook may have

-- The first error, whichever part it is of.
local function raise(errors)
    local _, err = next(errors)
    if err ~= nil then
        error(err, 0)
    end
end

---Runs the functions of a list, and gives what each returned: one value, not nil. A single one runs where it is, without a task.
function together.run(functions)
    if #functions == 1 then
        return { (functions[1]()) }
    end
    local out = {}
    for from = 1, #functions, AT_ONCE do
        local got = async.all(table.move(functions, from, math.min(from + AT_ONCE - 1, #functions), 1, {}))
        raise(got.errors)
        table.move(got, 1, #got, from, out)
    end
    return out
end

---The same for f(item) of each item of a list.
function together.map(items, f)
    local functions = {}
    for i, item in ipairs(items) do
        functions[i] = function() return f(item) end
    end
    return together.run(functions)
end

return together
