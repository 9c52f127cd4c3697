-- Run by test_modules.py: what the modules on the store compute.
local ratelimit = require "postern.ratelimit"
local reputation = require "postern.reputation"
local store = require "postern.store"

local function near(a, b, by)
    return math.abs(a - b) <= (by or 0.02)
end

local function hits(n, ...)
    local allowed = 0
    for _ = 1, n do
        allowed = allowed + (ratelimit.hit(...) and 1 or 0)
    end
    return allowed
end

function test_a_limit_lets_so_many_through_and_then_one_after_the_other()
    assert(hits(20, "k", 10, 100) == 10)
    local allowed, seconds = ratelimit.hit("k", 10, 100)
    assert(allowed == false and near(seconds, 10, 2), seconds)
    advance_clock(seconds + 0.01)
    assert(hits(5, "k", 10, 100) == 1)
    advance_clock(35)
    assert(hits(5, "k", 10, 100) == 3)
    advance_clock(1000)
    assert(hits(20, "k", 10, 100) == 10)
    assert(hits(1, "other", 10, 100) == 1)
end

function test_a_burst_of_its_own()
    assert(hits(20, "k", 10, 100, 2) == 2)
    advance_clock(10.1)
    assert(hits(20, "k", 10, 100, 2) == 1)
    assert(hits(5, "less than one", 1, 1000, 0.5) == 1)
end

function test_over_a_long_time_it_is_the_limit()
    local allowed = 0
    for _ = 1, 1000 do
        advance_clock(1)
        allowed = allowed + (ratelimit.hit("k", 10, 100) and 1 or 0)
    end
    assert(allowed >= 109 and allowed <= 111, allowed)
end

function test_a_limit_leaves_nothing_behind()
    hits(3, "k", 10, 100)
    assert(#store.keys("ratelimit:") == 1)
    advance_clock(31)
    assert(#store.keys("ratelimit:") == 0)
end

function test_an_entry_that_is_nonsense_shuts_nobody_out_for_long()
    for _, value in ipairs{ 1e300, math.huge, -1e300, "x", { 1 } } do
        store.set("ratelimit:k", value)
        local allowed, seconds = ratelimit.hit("k", 10, 100)
        assert(allowed or seconds <= 10.01, tostring(value))
        store.delete("ratelimit:k")
    end
end

function test_wrong_arguments_of_a_limit()
    for _, arguments in ipairs{ {}, { "" }, { "k", 0, 1 }, { "k", 1, -1 }, { "k", 0 / 0, 1 }, { "k", 1, 1e12 }, { ("k"):rep(1001), 1, 1 },
                                { "k", "10", 1 }, { "k", 1, 1, 0 } } do
        assert(not pcall(ratelimit.hit, table.unpack(arguments, 1, 4)))
    end
end

function test_a_mean_with_its_weight()
    local mean, weight = reputation.get("k")
    assert(mean == 0 and weight == 0)
    reputation.add("k", 1)
    reputation.add("k", 0)
    mean, weight = reputation.add("k", 0.5, 2)
    assert(near(mean, 0.5) and near(weight, 4), mean)
    mean, weight = reputation.get("k")
    assert(near(mean, 0.5) and near(weight, 4), weight)
end

function test_scores_decay()
    reputation.add("k", 1, 8)
    advance_clock(7 * 86400)
    local mean, weight = reputation.get("k")
    assert(near(mean, 1) and near(weight, 4), weight)
    mean, weight = reputation.add("k", -1, 4)
    assert(near(mean, 0) and near(weight, 8), weight)
    advance_clock(14 * 86400)
    mean, weight = reputation.get("k")
    assert(near(mean, 0) and near(weight, 2), weight)
    advance_clock(365 * 86400)
    assert(#store.keys("reputation:") == 0)
end

function test_wrong_arguments_of_a_reputation()
    for _, arguments in ipairs{ {}, { "", 1 }, { "k" }, { "k", "1" }, { "k", 0 / 0 }, { "k", math.huge }, { "k", 1, 0 }, { "k", 1, -1 } } do
        assert(not pcall(reputation.add, table.unpack(arguments, 1, 3)))
    end
    for _, value in ipairs{ 1, "x", { sum = "x" } } do
        store.set("reputation:k", value)
        local mean, weight = reputation.get("k")
        assert(mean == 0 and weight == 0)
        assert(reputation.add("k", 3) == 3)
    end
end

function test_values_of_every_kind()
    for _, value in ipairs{ 1, -1.5, 2.0, true, false, "", "\0\255", { 1, 2, { a = { "x" } } }, {} } do
        assert(store.set("k", value) == true)
        local found = store.get("k")
        assert(type(found) == type(value) and math.type(found) == math.type(value), tostring(value))
        assert(type(value) == "table" or found == value)
    end
    assert(store.get("k") ~= nil and store.delete("k") == true and store.get("k") == nil)
end

function test_update()
    local n = 0
    assert(store.update("k", function(old) n = n + 1 assert(old == nil) return { 1 } end)[1] == 1)
    assert(store.update("k", function(old) old[2] = 2 return old, 100 end)[2] == 2)
    assert(store.get("k")[2] == 2 and n == 1)
    advance_clock(101)
    assert(store.get("k") == nil)
    -- another changes it meanwhile, twice
    local calls = 0
    local result = store.update("k", function(old)
        calls = calls + 1
        if calls <= 2 then
            store.set("k", calls * 10)
        end
        return (old or 0) + 1
    end)
    assert(calls == 3 and result == 21, result)
    assert(store.update("k", function() return nil end) == nil and store.get("k") == nil)
    store.set("k", 7)
    local ok, why = pcall(store.update, "k", function() error("on purpose") end)
    assert(not ok and tostring(why):find("on purpose") and store.get("k") == 7)
    assert(not pcall(store.update, "k", function() return print end) and store.get("k") == 7)
    assert(store.update("k", function(old) require("postern.async").sleep(0.01) return old + 1 end) == 8)
end

function test_misuse()
    for _, call in ipairs{ function() store.get() end, function() store.get("") end, function() store.get(("k"):rep(1025)) end,
                           function() store.set("k") end, function() store.set("k", 0 / 0) end, function() store.set("k", print) end,
                           function() store.set("k", ("x"):rep(65537)) end, function() store.set("k", { ("x"):rep(40000) }) end,
                           function() store.set("k", 1, 0) end, function() store.set("k", 1, 0 / 0) end, function() store.set("k", 1, 1e12) end,
                           function() store.incr("k", 1.5) end, function() store.keys() end, function() store.keys("", 0) end,
                           function() store.update("k") end } do
        local ok, why = pcall(call)
        assert(not ok and why:find("modules_test.lua", 1, true), tostring(why))
    end
    assert(store.get("k") == nil)
end

function test_where_nothing_can_wait()
    local list = { 3, 1, 2 }
    table.sort(list, function(a, b) store.incr("n") return a < b end)
    assert(store.get("n") > 0)
    assert((("abc"):gsub(".", function(c) store.set(c, 1) return store.get(c) == 1 and "y" or "n" end)) == "yyy")
end
