-- Run by test_modules.py with greylist.spf_allow.
local function send(sender)
    local result = run{ eml = "Subject: x\n\nx\n", ip = "198.51.100.7", hostname = "mail.example.org", sender = sender, recipients = { "bob@example.net" } }
    assert(not result.error, result.error)
    return result
end

function test_a_pass_does_not_wait()
    local result = send("pass@example.org")
    assert(#result.recipients == 0)
    assert(result.actions[1].name == "X-Greylist" and result.actions[1].value:find("not delayed, SPF pass", 1, true))
end

function test_the_others_do()
    assert(send("ann@example.org").recipients[1].reply.text == "wait 300")
    assert(send("").recipients[1].reply.text == "wait 300", "the null sender has no domain that could allow it")
end
