local MAIL = "From: ann@example.org\nSubject: lunch\n\nAt noon?\n"
local LISTS = { dnsbl_zones = "zen.example=127.0.0.2-11 bl.example", dnsbl_domains = "dbl.example" }

dns_answers{
    ["7.100.51.198.zen.example"] = { A = { "127.0.0.4" }, TXT = { "see https://zen.example/198.51.100.7" } },
    ["8.100.51.198.zen.example"] = { A = { "127.0.0.200" } },
    ["9.100.51.198.bl.example"] = { A = { "127.0.0.2" } },
    ["10.100.51.198.zen.example"] = { A = { "127.255.255.254" } },
    ["11.100.51.198.zen.example"] = "timeout",
    ["11.100.51.198.bl.example"] = { A = { "127.0.0.2" } },
    ["bad.example.dbl.example"] = { A = { "127.0.1.2" }, TXT = { "spam\r\n250 ok" } },
}

local function send(ip, with)
    local mail = { eml = MAIL, ip = ip, sender = "ann@example.org", recipients = { "bob@example.net" }, config = LISTS }
    for name, value in pairs(with or {}) do
        mail[name] = value
    end
    local result = run(mail)
    assert(not result.error, result.error)
    return result
end

function test_a_listed_client_is_refused_with_the_reason_of_the_list()
    local result = send("198.51.100.7")
    assert(result.verdict == "reject", result.verdict)
    local reply = result.recipients[1].reply
    assert(reply.code == 554 and reply.dsn == "5.7.1")
    assert(reply.text == "the client 198.51.100.7 is listed by zen.example: see https://zen.example/198.51.100.7", reply.text)
    assert(send("198.51.100.9").recipients[1].reply.text == "the client 198.51.100.9 is listed by bl.example")
end

function test_other_answers_do_not_count()
    assert(send("198.51.100.8").verdict == "continue", "not one of the codes")
    assert(send("192.0.2.1").verdict == "continue", "not listed")
    assert(send("10.0.0.1").verdict == "continue")
    assert(send("2001:db8::1").verdict == "continue")
end

function test_postmaster_is_reached()
    local result = send("198.51.100.7", { recipients = { "bob@example.net", "carol@example.net", "Postmaster@example.net" } })
    assert(result.verdict == "continue" and #result.recipients == 2, result.verdict)
end

function test_mail_of_our_users_is_not_judged()
    assert(send("198.51.100.7", { macros = { auth_authen = "ann", auth_type = "PLAIN" } }).verdict == "continue")
    assert(send("127.0.0.1", { sender = "ann@bad.example" }).verdict == "continue")
end

function test_the_domain_of_the_sender()
    local reply = send("192.0.2.1", { sender = "eve@Bad.Example" }).recipients[1].reply
    assert(reply.text == "the domain bad.example is listed by dbl.example: spam 250 ok", reply.text)
    assert(send("192.0.2.1", { sender = "" }).verdict == "continue")
end

function test_a_list_that_fails()
    for _, ip in ipairs{ "198.51.100.10", "198.51.100.11" } do
        local result = send(ip, { config = { dnsbl_zones = "zen.example" } })
        assert(result.verdict == "continue" and result.log[1]:find("zen.example"), result.log[1])
        result = send(ip, { config = { dnsbl_zones = "zen.example", dnsbl_failed = "tempfail" } })
        assert(result.recipients[1].reply.code == 451)
    end
    assert(send("198.51.100.11").recipients[1].reply.code == 554, "another list has it")
end

function test_behind_our_edge_the_header_tells_who_it_was()
    local settings = { dnsbl_edge = true, dnsbl_zones = LISTS.dnsbl_zones }
    local result = send("198.51.100.7", { config = settings, recipients = { "bob@example.net", "postmaster@example.net" } })
    assert(result.verdict == "reject" and result.reply.code == 554 and #result.recipients == 0)
end

function test_without_lists_nothing_is_asked()
    assert(send("198.51.100.7", { config = {} }).verdict == "continue")
end
