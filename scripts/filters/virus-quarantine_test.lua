local MAIL = "Received: from x by y; Sun, 22 Nov 2026 10:00:00 +0000\nReceived: from z\n\tby x; Sun, 22 Nov 2026 09:59:00 +0000\nFrom: ann@example.org\n"
    .. "DKIM-Signature: v=1\nSubject: lunch\nMIME-Version: 1.0\nContent-Type: text/html\n\n<p>At noon?</p>\n"
local NOTES = { virus_notes = "@example.net, boss@" }

local function infected()
    fake_backend("clamav", { status = "infected", name = "Test.Virus" })
end

local function send(config, recipients, eml)
    local result = run{ eml = eml or MAIL, ip = "198.51.100.7", sender = "ann@example.org", recipients = recipients or { "bob@example.net" },
        macros = { j = "mx.example.net" }, config = config }
    assert(not result.error, result.error)
    return result, table.concat(result.log, "\n")
end

-- Of the changes: by the kind of action, or by the name of a field.
local function changes(result)
    local list = {}
    for _, action in ipairs(result.actions) do
        list[action.action] = list[action.action] or action
        if action.name then
            list[action.name] = action
        end
    end
    return list
end

function test_clean_mail_passes()
    fake_backend("clamav", { status = "clean" })
    local result = send(NOTES)
    assert(result.verdict == "continue" and #result.actions == 0, result.verdict)
end

function test_infected_mail_is_kept_and_discarded()
    infected()
    for _, config in ipairs{ {}, NOTES } do
        local result, log = send(config, { "bob@example.com" })
        assert(result.verdict == "discard", result.verdict)
        assert(log:find("trap=store: virus: Test.Virus", 1, true) and log:find("virus=Test.Virus", 1, true), log)
    end
end

function test_who_wants_to_know_gets_a_note()
    infected()
    local result, log = send(NOTES, { "ann@example.com", "bob@example.net", "boss@example.com" })
    assert(result.verdict == "continue" and log:find("trap=copy: virus: Test.Virus", 1, true), log)
    local made = changes(result)
    assert(made.delete_recipient.address == "ann@example.com", made.delete_recipient and made.delete_recipient.address)
    assert(made.set_sender.address == "", "nobody answers a note")
    assert(made.Subject.value == "A mail with a virus was kept from you" and made["Auto-Submitted"].value == "auto-generated")
    assert(made.From.value == "Mail server <postmaster@mx.example.net>", made.From.value)
    assert(made["DKIM-Signature"].action == "delete_header" and not made.Received)
    assert(made["Content-Type"].value == "text/plain; charset=utf-8")
    assert(made.replace_body)
end

function test_all_may_get_it_and_it_may_be_from_somebody_else()
    infected()
    local result = send({ virus_notes = "*", virus_from = "help@example.net" }, { "ann@example.com", "bob@example.net" })
    local made = changes(result)
    assert(result.verdict == "continue" and not made.delete_recipient and made.From.value == "Mail server <help@example.net>")
end

function test_odd_subjects()
    infected()
    for _, subject in ipairs{ "100% off %s %d", ("ü"):rep(5000), "=?utf-8?Q?a=0D=0ABcc=3A_x?=", "" } do
        local result = send({ virus_notes = "*" }, nil, "Subject: " .. subject .. "\n\nx\n")
        assert(result.verdict == "continue" and not changes(result).Bcc, result.verdict)
    end
end

function test_mail_that_cannot_be_scanned_waits()
    fake_backend("clamav", function() return nil, "timeout" end)
    assert(send().verdict == "tempfail")
end
