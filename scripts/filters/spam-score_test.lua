local MAIL = "From: ann@example.org\nSubject: lunch\n\nAt noon?\n"
local FORGED = "X-Spam-Flag: YES\nX-Spam-Status: No, score=-100\n" .. MAIL

local function send(score, config)
    fake_backend("spamassassin", { status = score >= 5 and "spam" or "clean", is_spam = score >= 5, score = score, threshold = 5.0, report = "",
                                   tests = { "ONE", "TWO" } })
    local result, fields = run{ eml = MAIL, ip = "198.51.100.7", config = config }, {}
    assert(not result.error, result.error)
    for _, action in ipairs(result.actions) do
        fields[action.name] = action.value
    end
    return result, fields
end

function test_good_mail_gets_its_score()
    local result, fields = send(-1.25)
    assert(result.verdict == "continue" and fields["X-Spam-Flag"] == nil)
    assert(fields["X-Spam-Status"]:find("^No, score=%-1%.[23] required=5%.0 tests=ONE,TWO$"), fields["X-Spam-Status"])
end

function test_spam_is_marked()
    local result, fields = send(7.0, { spam_subject = "[spam]" })
    assert(result.verdict == "continue" and fields["X-Spam-Flag"] == "YES" and fields["X-Spam-Score"] == "7.0")
    assert(fields.Subject == "[spam] lunch", fields.Subject)
end

function test_much_of_it_is_refused()
    local result = send(15.0)
    assert(result.verdict == "reject" and result.reply.code == 554, result.verdict)
    assert(send(15.0, { spam_refuse = 0 }).verdict == "continue")
    assert(send(8.0, { spam_refuse = 8 }).verdict == "reject")
end

function test_mail_from_outside_waits_for_spamd()
    fake_backend("spamassassin", function() return nil, "timeout" end)
    local result = run{ eml = MAIL, ip = "198.51.100.7" }
    assert(result.verdict == "tempfail" and result.reply.code == 451, result.error or result.verdict)
    assert(table.concat(result.log, "\n"):find("deferred=spamassassin: ", 1, true))
end

function test_our_users_are_not_checked()
    fake_backend("spamassassin", function() return nil, "timeout" end)
    for _, with in ipairs{ { ip = "127.0.0.1" }, { ip = "198.51.100.7", macros = { auth_authen = "ann", auth_type = "PLAIN" } } } do
        with.eml = MAIL
        local result = run(with)
        assert(result.verdict == "continue" and #result.actions == 0, result.error or result.verdict)
    end
    assert(run{ eml = MAIL, ip = "127.0.0.1", config = { spam_users = true } }.verdict == "tempfail")
end

function test_foreign_fields_go()
    local result = run{ eml = FORGED, ip = "127.0.0.1" }
    assert(#result.actions == 2, result.error)
    for _, action in ipairs(result.actions) do
        assert(action.name:find("^X%-Spam%-"), action.name)
    end
end
