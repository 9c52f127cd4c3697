-- There is no spamd here: what scores do is for a server with one. These are the rules for when it is away, or not asked.

local MAIL = "From: ann@example.org\nSubject: lunch\n\nAt noon?\n"
local FORGED = "X-Spam-Flag: YES\nX-Spam-Status: No, score=-100\n" .. MAIL

function test_mail_from_outside_waits_for_spamd()
    local result = run{ eml = MAIL, ip = "198.51.100.7" }
    assert(result.verdict == "tempfail" and result.reply.code == 451, result.error or result.verdict)
    assert(table.concat(result.log, "\n"):find("deferred=spamassassin: ", 1, true))
end

function test_our_users_are_not_checked()
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
