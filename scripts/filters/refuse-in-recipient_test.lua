local MAIL = "From: ann@example.org\nSubject: lunch\n\nAt noon?\n"

function test_the_client_is_refused_with_a_text()
    for _, ip in ipairs{ "198.51.100.7", "2001:db8:bad::1" } do
        local result = run{ eml = MAIL, ip = ip, recipients = { "bob@example.net" } }
        assert(result.verdict == "reject" and result.reply.code == 554, result.verdict)
        assert(result.reply.text:find("mail from " .. ip, 1, true))
    end
end

function test_postmaster_is_reached()
    local result = run{ eml = MAIL, ip = "198.51.100.7", recipients = { "bob@example.net", "Postmaster@example.net" } }
    assert(result.verdict == "continue", result.verdict)
    assert(#result.recipients == 1 and result.recipients[1].address == "bob@example.net")
end

function test_others_are_not_refused()
    local result = run{ eml = MAIL, ip = "192.0.2.1" }
    assert(result.verdict == "continue" and #result.actions == 0)
end
