-- postern.dnsbl on answers of our own; run by test_dnsbl.py.
local dnsbl = require "postern.dnsbl"

local function answers(list, more)
    local out = more or {}
    out.A = list
    return out
end

dns_answers{
    ["1.2.0.192.one.example"] = answers({ "127.0.0.2" }, { TXT = { "bad\r\nhost \195\188" } }),
    ["1.2.0.192.two.example"] = answers{ "127.0.0.4", "127.0.0.10" },
    ["2.2.0.192.two.example"] = answers{ "127.0.0.3", "127.0.0.10", "192.0.2.77" },
    ["3.2.0.192.odd.example"] = answers{ "192.0.2.77" },
    ["3.2.0.192.refused.example"] = answers{ "127.255.255.254" },
    ["3.2.0.192.both.example"] = answers{ "127.0.0.2", "127.255.255.255" },
    ["3.2.0.192.slow.example"] = "timeout",
    ["3.2.0.192.good.example"] = answers{ "127.0.0.2" },
    ["1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.one.example"] = answers{ "127.0.0.2" },
    ["bad.example.dbl.example"] = answers({ "127.0.1.2" }, { TXT = { "spam" } }),
    ["xn--bcher-kva.example.dbl.example"] = answers{ "127.0.1.2" },
    -- of "test@example.com": SHA-1, MD5, and SHA-256 in base32
    ["567159d622ffbb50b11b0efd307be358624a26ee.hash.example"] = answers({ "127.0.3.2" }, { TXT = { "known" } }),
    ["55502f40dc8b7c769880b10874abc9d0.hash.example"] = answers{ "127.0.3.3" },
    ["s4674rr6zblyl5pzll23uoig53ns3ey4ettjqjfit2tf3osoqe5q.hash.example"] = answers{ "127.0.3.4" },
}

local function told(...)
    local zone, what = dnsbl.listed(...)
    return tostring(zone) .. " " .. (type(what) == "table" and table.concat(what, ",") or tostring(what))
end

local function is(got, wanted)
    if got ~= wanted then
        error(("%s, not %s"):format(got, wanted), 2)
    end
end

function test_one_zone()
    is(told("192.0.2.1", "one.example"), "one.example 127.0.0.2")
    is(told("192.0.2.9", "one.example"), "nil nil")
    is(told("::ffff:192.0.2.1", "one.example"), "one.example 127.0.0.2")
    is(told("2001:DB8::1", "one.example"), "one.example 127.0.0.2")
    is(told("2001:db8::2", "one.example"), "nil nil")
end

function test_codes()
    for codes, wanted in pairs{
        ["127.0.0.4"] = "127.0.0.4", ["127.0.0.5-11"] = "127.0.0.10", ["127.0.0.4-127.0.0.10"] = "127.0.0.4,127.0.0.10", ["127.0.0.11-20"] = "",
        ["127.0.0.10-10"] = "127.0.0.10",
    } do
        is(told("192.0.2.1", { zone = "two.example", codes = { codes } }), wanted == "" and "nil nil" or "two.example " .. wanted)
    end
    is(told("192.0.2.1", { zone = "two.example", codes = { "127.0.0.9", "127.0.0.10" } }), "two.example 127.0.0.10")
    is(told("192.0.2.2", "two.example"), "two.example 127.0.0.3,127.0.0.10")
end

function test_many_zones()
    is(told("192.0.2.1", "none.example", { zone = "two.example", codes = { "127.0.0.4" } }), "two.example 127.0.0.4")
    is(told("192.0.2.1", { "none.example", "two.example" }, "other.example"), "two.example 127.0.0.4,127.0.0.10")
    is(told("192.0.2.9", "none.example", "two.example"), "nil nil")
end

function test_the_first_answer_wins()
    dns_answers{ ["1.2.0.192.late.example"] = answers({ "127.0.0.2" }, { delay = 60 }) }
    is(told("192.0.2.1", "late.example", "one.example"), "one.example 127.0.0.2")
end

function test_failures()
    is(told("192.0.2.3", "slow.example"), "nil slow.example: timeout (simulated)")
    is(told("192.0.2.3", "slow.example", "none.example"), "nil slow.example: timeout (simulated)")
    is(told("192.0.2.3", "slow.example", "good.example"), "good.example 127.0.0.2")
    is(told("192.0.2.3", "refused.example"), "nil refused.example: it answers 127.255.255.254, an error")
    is(told("192.0.2.3", "both.example"), "nil both.example: it answers 127.255.255.255, an error")
    is(told("192.0.2.3", "refused.example", "good.example"), "good.example 127.0.0.2")
    is(told("192.0.2.3", { zone = "refused.example", codes = { "127.0.0.2" } }), "nil refused.example: it answers 127.255.255.254, an error")
end

function test_no_list_answers_that()
    is(told("192.0.2.3", "odd.example"), "nil nil")
end

function test_addresses_that_are_not_asked_for()
    dns_answers{ ["1.0.0.127.one.example"] = answers{ "127.0.0.2" }, ["1.0.0.10.one.example"] = answers{ "127.0.0.2" } }
    for _, ip in ipairs{ "127.0.0.1", "10.0.0.1", "172.31.0.1", "192.168.1.1", "169.254.0.1", "100.64.0.1", "0.0.0.0", "224.0.0.1", "255.255.255.255",
                         "::1", "::", "fe80::1", "fd00::1", "ff02::1", "::ffff:10.0.0.1" } do
        is(told(ip, "slow.example", "one.example"), "nil nil")
    end
    is(told(nil, "one.example"), "nil nil")
end

function test_domains()
    is(dnsbl.listed_domain("BAD.example.", "dbl.example"), "dbl.example")
    is(dnsbl.listed_domain("b\195\188cher.example", "dbl.example"), "dbl.example")
    for _, name in ipairs{ "www.bad.example", "good.example", "", "bad", "192.0.2.1", "a b.example", "\255.example", ("x"):rep(64) .. ".example",
                           ("x."):rep(120) .. "example", "[192.0.2.1]", "::1" } do
        local zone, err = dnsbl.listed_domain(name, "dbl.example")
        assert(zone == nil and err == nil, name)
    end
end

function test_hashes()
    local zone = { zone = "hash.example" }
    local name, found = dnsbl.listed_hash("Test@Example.COM", zone)
    is(name .. " " .. found[1], "hash.example 127.0.3.2")
    is(select(2, dnsbl.listed_hash("test@example.com", { zone = "hash.example", hash = "md5" }))[1], "127.0.3.3")
    is(select(2, dnsbl.listed_hash("test@example.com", { zone = "hash.example", hash = "sha256", encoding = "base32" }))[1], "127.0.3.4")
    assert(dnsbl.listed_hash("other@example.com", zone) == nil and dnsbl.listed_hash("", zone) == nil)
    is(dnsbl.reason("test@example.com", { zone = "hash.example", hash = "sha1" }), "known")
end

function test_reasons()
    is(dnsbl.reason("192.0.2.1", "one.example"), "bad host")
    is(dnsbl.reason("bad.example", "dbl.example"), "spam")
    assert(dnsbl.reason("192.0.2.1", "two.example") == nil and dnsbl.reason("10.0.0.1", "one.example") == nil)
    dns_answers{ ["1.2.0.192.long.example"] = { TXT = { ("x"):rep(2000) } }, ["1.2.0.192.empty.example"] = { TXT = { " " } } }
    is(#dnsbl.reason("192.0.2.1", "long.example"), 300)
    assert(dnsbl.reason("192.0.2.1", "empty.example") == nil)
    is(select(2, dnsbl.reason("192.0.2.3", "slow.example")), "slow.example: timeout (simulated)")
end

function test_zones_of_a_line()
    local zones = dnsbl.zones("  one.example two.example=127.0.0.4,127.0.0.9-11 ")
    assert(#zones == 2 and zones[1].zone == "one.example" and zones[1].codes == nil)
    is(zones[2].zone .. " " .. table.concat(zones[2].codes, " "), "two.example 127.0.0.4 127.0.0.9-11")
    is(told("192.0.2.1", zones[2]), "two.example 127.0.0.4,127.0.0.10")
    assert(#dnsbl.zones("") == 0)
end

function test_wrong_arguments_name_the_line()
    local function wrong(f, ...)
        local ok, err = pcall(f, ...)
        assert(not ok, "taken")
        return err
    end
    local calls = {
        function() dnsbl.listed("192.0.2.1") end, function() dnsbl.listed("192.0.2.1", {}) end, function() dnsbl.listed("192.0.2.1", 1) end,
        function() dnsbl.listed("x", "one.example") end, function() dnsbl.listed(1, "one.example") end, function() dnsbl.listed("192.0.2.1", "a b") end,
        function() dnsbl.listed("192.0.2.1", "a..b") end, function() dnsbl.listed("192.0.2.1", { zone = "a", code = {} }) end,
        function() dnsbl.listed("192.0.2.1", { zone = "a", codes = {} }) end, function() dnsbl.listed("192.0.2.1", { zone = "a", codes = "127.0.0.2" }) end,
        function() dnsbl.listed("192.0.2.1", { zone = "a", codes = { "10.0.0.1" } }) end, function() dnsbl.listed("192.0.2.1", { zone = "a", codes = { "127.0.0.9-2" } }) end,
        function() dnsbl.listed("192.0.2.1", { zone = "a", codes = { "127.255.255.1" } }) end, function() dnsbl.listed("192.0.2.1", { zone = 1 }) end,
        function() dnsbl.listed_hash("x", { zone = "a", hash = "crc" }) end, function() dnsbl.listed_hash("x", { zone = "a", encoding = "b" }) end,
        function() dnsbl.listed_domain(nil, "a") end, function() dnsbl.listed_hash(nil, "a") end, function() dnsbl.reason(nil, "a") end,
        function() dnsbl.zones("a=127.0.0.300") end, function() dnsbl.zones("a=") end, function() dnsbl.zones() end,
    }
    for i, call in ipairs(calls) do
        local err = wrong(call)
        assert(err:find("^dnsbl_test.lua:%d+: "), i .. ": " .. err)
    end
    local many = {}
    for i = 1, 101 do many[i] = "z" .. i .. ".example" end
    assert(wrong(dnsbl.listed, "192.0.2.1", many):find("1 to 100"))
end
