local MAIL = "From: ann@example.org\nX-Spam: No\nX-Old: 1\nSubject: lunch\n\nAt noon?\n"

local function send(action, answer, with)
    local result = { status = "clean", is_spam = false, score = 7.25, threshold = 15, action = action, symbols = {}, tests = {}, report = "",
        messages = {}, milter = { remove_headers = { ["X-Old"] = 0 }, add_headers = { ["X-Rspamd"] = "seen" } } }
    for name, value in pairs(answer or {}) do
        result[name] = value
    end
    fake_backend("rspamd", result)
    local mail = { eml = MAIL, ip = "198.51.100.7", sender = "ann@example.org", recipients = { "bob@example.net", "carol@example.net" } }
    for name, value in pairs(with or {}) do
        mail[name] = value
    end
    local played = run(mail)
    assert(not played.error, played.error)
    played.fields = {}
    for _, done in ipairs(played.actions) do
        played.fields[done.name or done.action] = done.value or done.action
    end
    return played
end

function test_good_mail_passes_with_the_header_that_rspamd_wants()
    local result = send("no action")
    assert(result.verdict == "continue" and result.fields["X-Old"] == "delete_header" and result.fields["X-Rspamd"] == "seen")
    assert(result.fields["X-Spam"] == "delete_header", "a mark of somebody else goes")
    assert(table.concat(result.log, "\n"):find("rspamd=no action 7.2", 1, true) or table.concat(result.log, "\n"):find("rspamd=no action 7.3", 1, true))
end

function test_what_is_refused()
    local result = send("reject")
    assert(result.verdict == "reject" and result.reply.code == 554 and result.reply.text == "this looks like spam")
    result = send("reject", { messages = { smtp_message = "go away" } })
    assert(result.reply.text == "go away")
    result = send("soft reject", { messages = { smtp_message = { "odd" } } })
    assert(result.verdict == "tempfail" and result.reply.text == "please try again later")
    assert(send("discard").verdict == "discard")
end

function test_what_is_marked()
    assert(send("add header").fields["X-Spam"] == "Yes")
    local result = send("rewrite subject", { subject = "[spam] lunch" }, { config = { rspamd_mark = "X-Junk" } })
    assert(result.verdict == "continue" and result.fields["X-Junk"] == "Yes" and result.fields.Subject == "[spam] lunch")
end

function test_what_is_held()
    local result = send("quarantine")
    assert(result.verdict == "continue" and result.fields.hold, "no hold")
end

function test_strangers_come_twice()
    local result = send("greylist")
    assert(result.verdict == "tempfail" and result.reply.text:find("try again in 300 seconds", 1, true), result.reply and result.reply.text)
    assert(send("greylist", nil, { config = { rspamd_greylist = false } }).verdict == "continue")
    assert(send("greylist", nil, { ip = "127.0.0.1" }).verdict == "continue", "our users do not")
    advance_clock(301)
    assert(send("greylist").verdict == "continue")
end

function test_actions_of_their_own_are_no_hindrance()
    assert(send("my action").verdict == "continue")
end

function test_mail_waits_for_rspamd()
    fake_backend("rspamd", function() return nil, "timeout" end)
    local result = run{ eml = MAIL }
    assert(result.verdict == "tempfail" and result.reply.code == 451, result.error or result.verdict)
end
