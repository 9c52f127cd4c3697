local MAIL = "From: ann@example.org\nSubject: lunch\n\nAt noon?\n"

local function infected()
    fake_backend("clamav", function(request)
        assert(request.message:find("At noon", 1, true))
        return { status = "infected", name = "Test.Virus" }
    end)
end

function test_clean_mail_passes()
    fake_backend("clamav", { status = "clean" })
    local result = run{ eml = MAIL }
    assert(result.verdict == "continue" and #result.actions == 0, result.error or result.verdict)
end

function test_infected_mail_is_refused()
    infected()
    local result = run{ eml = MAIL }
    assert(result.verdict == "reject" and result.reply.code == 554, result.error or result.verdict)
    assert(result.reply.text == "this mail carries a virus: Test.Virus", result.reply.text)
end

function test_or_kept_and_discarded()
    infected()
    local result = run{ eml = MAIL, config = { virus_action = "trap" } }
    assert(result.verdict == "discard", result.error or result.verdict)
    assert(table.concat(result.log, "\n"):find("trap=store: virus: Test.Virus", 1, true))
end

function test_mail_that_cannot_be_scanned_waits()
    fake_backend("clamav", function() return nil, "timeout" end)
    for _, action in ipairs{ "refuse", "trap" } do
        local result = run{ eml = MAIL, config = { virus_action = action } }
        assert(result.verdict == "tempfail", result.error or result.verdict)
        assert(result.reply.code == 451 and result.reply.dsn == "4.7.1")
        assert(table.concat(result.log, "\n"):find("deferred=clamav: ", 1, true))
    end
end

function test_another_scanner()
    fake_backend("icap", { status = "infected", name = "Test.Virus", modified = true })
    local result = run{ eml = MAIL, config = { virus_scanner = "icap" } }
    assert(result.verdict == "reject" and result.reply.text == "this mail carries a virus: Test.Virus", result.error or result.verdict)
    fake_backend("icap", { status = "clean" })
    result = run{ eml = MAIL, config = { virus_scanner = "icap" } }
    assert(result.verdict == "continue", result.error or result.verdict)
    fake_backend("icap", function() return nil, "timeout" end)
    result = run{ eml = MAIL, config = { virus_scanner = "icap" } }
    assert(result.verdict == "tempfail" and table.concat(result.log, "\n"):find("deferred=icap: ", 1, true), result.error or result.verdict)
end

function test_settings_are_checked()
    for _, settings in ipairs{ { virus_action = "delete" }, { virus_scanner = "other" } } do
        local is_good, result = pcall(run, { eml = MAIL, config = settings })
        assert(not is_good or result.error)
    end
end
