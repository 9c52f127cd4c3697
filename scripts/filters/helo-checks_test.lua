local MAIL = "From: ann@example.org\nSubject: lunch\n\nAt noon?\n"
local OURS = { j = "mx.example.net", if_addr = "192.0.2.25" }

local function send(helo, with)
    local mail = { eml = MAIL, ip = "198.51.100.7", helo = helo, sender = "ann@example.org", macros = OURS }
    for name, value in pairs(with or {}) do
        mail[name] = value
    end
    local result = run(mail)
    assert(not result.error, result.error)
    return result
end

function test_who_claims_our_name_is_refused()
    for _, helo in ipairs{ "mx.example.net", "MX.Example.Net", "mx.example.net." } do
        local result = send(helo)
        assert(result.verdict == "reject" and result.reply.code == 550, helo)
        assert(result.reply.text == "you are not mx.example.net", result.reply.text)
    end
end

function test_who_claims_our_address_is_refused()
    for _, helo in ipairs{ "192.0.2.25", "[192.0.2.25]" } do
        assert(send(helo).verdict == "reject", helo)
    end
    local six = { macros = { j = "mx.example.net", if_addr = "IPv6:2001:db8::25" }, ip = "2001:db8:1::7" }
    assert(send("[IPv6:2001:DB8::25]", six).verdict == "reject")
end

function test_names_and_addresses_of_the_settings()
    local settings = { config = { helo_names = "Mail.example.net example.net", helo_addresses = "203.0.113.25" } }
    for _, helo in ipairs{ "mail.example.net", "EXAMPLE.net", "[203.0.113.25]", "mx.example.net" } do
        assert(send(helo, settings).verdict == "reject", helo)
    end
    assert(send("www.example.net", settings).verdict == "continue")
end

function test_others_are_not_refused()
    for _, helo in ipairs{ "mail.example.org", "[198.51.100.7]", "mx.example.net.example.org", "x" } do
        assert(send(helo).verdict == "continue", helo)
    end
    assert(send("mx.example.net", { macros = { j = "mx.example.com" } }).verdict == "continue", "that is not our name there")
end

function test_our_users_and_our_own_machine_are_not_judged()
    assert(send("mx.example.net", { ip = "127.0.0.1" }).verdict == "continue")
    assert(send("mx.example.net", { ip = "192.0.2.25" }).verdict == "continue")
    local macros = { j = "mx.example.net", auth_authen = "ann", auth_type = "PLAIN" }
    assert(send("mx.example.net", { macros = macros }).verdict == "continue")
end
