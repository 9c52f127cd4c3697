local PLAIN = "From: ann@example.org\nSubject: lunch\n\nAt noon?\n"
local PROGRAM = "Subject: x\nMIME-Version: 1.0\nContent-Type: application/octet-stream; name=\"setup.exe\"\n\nMZ\n"

function test_hosts_of_the_list_are_refused_at_the_recipient()
    local result = run{ eml = PLAIN, ip = "203.0.113.7" }
    assert(result.verdict == "reject" and result.reply.text:find("advertisements"), result.verdict)
    result = run{ eml = PLAIN, ip = "198.51.100.7", hostname = "BAD.example.com" }
    assert(result.verdict == "reject" and result.reply.text:find("its owner asked us to"))
end

function test_programs_are_refused()
    assert(run{ eml = PROGRAM, ip = "198.51.100.7" }.reply.text == "We take no programs by mail.")
end

function test_other_mail_gets_a_field()
    local result = run{ eml = PLAIN, ip = "198.51.100.7" }
    assert(result.verdict == "continue", result.error)
    assert(result.actions[1].name == "X-Postern" and result.actions[1].value == "1 part")
end
