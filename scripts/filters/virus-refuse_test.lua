-- There is no clamd here: what clean and infected mail gets is for a server with one. These are the rules for when it is away.

local MAIL = "From: ann@example.org\nSubject: lunch\n\nAt noon?\n"

function test_mail_that_cannot_be_scanned_waits()
    for _, action in ipairs{ "refuse", "trap" } do
        local result = run{ eml = MAIL, config = { virus_action = action } }
        assert(result.verdict == "tempfail", result.error or result.verdict)
        assert(result.reply.code == 451 and result.reply.dsn == "4.7.1")
        assert(table.concat(result.log, "\n"):find("deferred=clamav: ", 1, true))
    end
end

function test_settings_are_checked()
    local is_good, result = pcall(run, { eml = MAIL, config = { virus_action = "delete" } })
    assert(not is_good or result.error)
end
