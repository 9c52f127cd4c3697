local MAIL = "From: ann@example.org\nX-Spam-Flag: NO\nX-Spam-Score: -5\nSubject: lunch\n\nAt noon?\n"
local LISTS = "zen.example=127.0.0.2-11 bl.example"
local HERE = { j = "mx.example.net" }

dns_answers{
    ["66.100.51.198.bl.example"] = { A = { "127.0.0.2" } },
    ["67.100.51.198.bl.example"] = "timeout",
    ["example.org"] = { TXT = { "v=spf1 ip4:198.51.100.7 -all" } },
    ["_dmarc.example.org"] = { TXT = { "v=DMARC1; p=reject" } },
}

local function scanners(virus, score)
    fake_backend("clamav", virus and { status = "infected", name = virus } or { status = "clean" })
    fake_backend("spamassassin", { status = score >= 5 and "spam" or "clean", is_spam = score >= 5, score = score, threshold = 5, report = "", tests = {} })
end

-- It comes again when it has to wait. Settings may be given as config.
local function send(with)
    local mail = { eml = MAIL, ip = "198.51.100.7", sender = "ann@example.org", recipients = { "bob@example.net" }, macros = HERE,
        config = { mx_lists = LISTS } }
    for name, value in pairs(with or {}) do
        mail[name] = value
    end
    local result = run(mail)
    assert(not result.error, result.error)
    if result.verdict == "tempfail" and result.reply.text:find("please try again in", 1, true) then
        advance_clock(301)
        result = run(mail)
    end
    result.fields = {}
    for _, action in ipairs(result.actions) do
        if action.action ~= "delete_header" then
            result.fields[action.name] = action.value
        end
    end
    return result
end

function test_good_mail_is_taken_when_it_comes_again()
    scanners(nil, 1.2)
    local first = run{ eml = MAIL, ip = "198.51.100.7", sender = "ann@example.org", recipients = { "bob@example.net" } }
    assert(first.verdict == "tempfail" and first.recipients[1].reply.code == 451, first.error or first.verdict)
    local result = send()
    assert(result.verdict == "continue", result.verdict)
    local told = result.fields["Authentication-Results"]
    for _, what in ipairs{ "mx.example.net;", "spf=pass", "dkim=none", "dmarc=pass", "arc=none" } do
        assert(told:find(what, 1, true), told)
    end
    assert(result.fields["X-Spam-Score"] == "1.2" and not result.fields["X-Spam-Flag"])
    local gone = 0
    for _, action in ipairs(result.actions) do
        gone = gone + (action.action == "delete_header" and action.name:find("^X%-Spam%-") and 1 or 0)
    end
    assert(gone == 2, "what others wrote there is gone")
end

function test_listed_clients_are_refused_but_reach_postmaster()
    scanners(nil, 0)
    local result = send{ ip = "198.51.100.66" }
    assert(result.verdict == "reject" and result.recipients[1].reply.text == "198.51.100.66 is listed by bl.example", result.verdict)
    local other = "From: eve@example.com\nSubject: help\n\nWhy am I on a list?\n"
    result = send{ eml = other, ip = "198.51.100.66", recipients = { "bob@example.net", "Postmaster@example.net", "abuse@example.net" } }
    assert(result.verdict == "continue" and #result.recipients == 1, result.verdict)
    assert(send{ eml = other, ip = "198.51.100.67" }.verdict == "continue", "a list that fails is no hindrance")
end

function test_a_virus_is_refused_whoever_sends_it()
    scanners("Test.Virus", 0)
    for _, ip in ipairs{ "198.51.100.7", "127.0.0.1" } do
        local result = send{ ip = ip }
        assert(result.verdict == "reject" and result.reply.text == "this mail carries a virus: Test.Virus", result.verdict)
    end
end

function test_forged_mail_is_refused_or_marked_as_its_domain_wants()
    scanners(nil, 0)
    local result = send{ ip = "192.0.2.1" }
    assert(result.verdict == "reject" and result.reply.text == "the policy of example.org (DMARC) refuses this mail", result.reply and result.reply.text)
    dns_answers{ ["_dmarc.example.org"] = { TXT = { "v=DMARC1; p=quarantine" } } }
    result = send{ ip = "192.0.2.1" }
    assert(result.verdict == "continue" and result.fields["X-Spam-Flag"] == "YES", result.verdict)
end

function test_spam_is_marked_and_much_of_it_refused()
    scanners(nil, 7)
    local result = send()
    assert(result.verdict == "continue" and result.fields["X-Spam-Flag"] == "YES" and result.fields["X-Spam-Score"] == "7.0")
    assert(send{ config = { mx_refuse = 7 } }.verdict == "reject")
    scanners(nil, 15)
    assert(send().reply.text == "this looks like spam (15.0 points)")
end

function test_our_users_are_asked_about_viruses_alone()
    scanners(nil, 20)
    for _, with in ipairs{ { ip = "127.0.0.1" }, { macros = { auth_authen = "ann", auth_type = "PLAIN" } } } do
        local result = send(with)
        assert(result.verdict == "continue" and #result.actions == 0, result.verdict)
    end
end

function test_mail_waits_for_scanners()
    for _, name in ipairs{ "clamav", "spamassassin" } do
        scanners(nil, 0)
        fake_backend(name, function() return nil, "timeout" end)
        local result = send()
        assert(result.verdict == "tempfail" and result.reply.text == "this cannot be checked now, try again later", result.reply and result.reply.text)
        assert(table.concat(result.log, "\n"):find("deferred=" .. name, 1, true))
    end
end
