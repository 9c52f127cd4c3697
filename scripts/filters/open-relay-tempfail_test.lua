local MAIL = "From: ann@example.org\nSubject: lunch\n\nAt noon?\n"
local SETTINGS = { open_relay_zones = "relays.example bl.example=127.0.0.5" }

dns_answers{
    ["7.100.51.198.relays.example"] = { A = { "127.0.0.2" } },
    ["8.100.51.198.bl.example"] = { A = { "127.0.0.5" } },
    ["9.100.51.198.bl.example"] = { A = { "127.0.0.2" } },
    ["10.100.51.198.relays.example"] = "servfail",
}

local function send(ip, macros, config)
    local result = run{ eml = MAIL, ip = ip, sender = "ann@example.org", macros = macros, config = config or SETTINGS }
    assert(not result.error, result.error)
    return result
end

function test_an_open_relay_is_put_off()
    local result = send("198.51.100.7")
    assert(result.verdict == "tempfail" and result.reply.code == 451, result.verdict)
    assert(result.reply.text:find("Listed by relays.example", 1, true), result.reply.text)
    assert(send("198.51.100.8").reply.text:find("bl.example", 1, true))
end

function test_other_reasons_to_be_listed_do_not_count()
    assert(send("198.51.100.9").verdict == "continue")
    assert(send("192.0.2.1").verdict == "continue")
end

function test_our_users_are_not_judged()
    assert(send("198.51.100.7", { auth_authen = "ann", auth_type = "PLAIN" }).verdict == "continue")
end

function test_when_it_is_mended_mail_is_taken()
    assert(send("198.51.100.7").verdict == "tempfail")
    dns_answers{ ["7.100.51.198.relays.example"] = "nxdomain" }
    assert(send("198.51.100.7").verdict == "continue")
end

function test_lists_that_fail_hold_nothing_up()
    local result = send("198.51.100.10")
    assert(result.verdict == "continue" and result.log[1]:find("servfail"), result.log[1])
end

function test_without_lists_nothing_is_asked()
    assert(send("198.51.100.7", nil, {}).verdict == "continue")
end
