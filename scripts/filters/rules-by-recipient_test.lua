local MAIL = "From: ann@example.org\nSubject: lunch\n\nAt noon?\n"
local RULES = assert(require("postern.file").beside("rules-by-recipient_test.txt"))

local asked = 0

local function send(score, recipients, several, with)
    fake_backend("spamassassin", function()
        asked = asked + 1
        return { status = score >= 5 and "spam" or "clean", is_spam = score >= 5, score = score, threshold = 5, report = "", tests = {} }
    end)
    local mail = { eml = MAIL, ip = "198.51.100.7", sender = "eve@example.org", config = { rules_file = RULES, rules_several = several }, recipients = {} }
    for i, name in ipairs(recipients) do
        mail.recipients[i] = name:find("@", 1, true) and name or name .. "@example.net"
    end
    for name, value in pairs(with or {}) do
        mail[name] = value
    end
    local result = run(mail)
    assert(not result.error, result.error)
    result.fields, result.gone = {}, {}
    for _, action in ipairs(result.actions) do
        if action.action == "add_header" then
            result.fields[action.name] = action.value
        elseif action.action == "delete_recipient" then
            table.insert(result.gone, action.address)
        end
    end
    return result
end

local function outcome(...)
    local result = send(...)
    local flag = result.fields["X-Spam-Flag"] and " marked" or ""
    return result.verdict .. flag .. (#result.gone > 0 and " without " .. table.concat(result.gone, " ") or "")
end

local function is(got, wanted)
    assert(got == wanted, got)
end

function test_one_recipient()
    for score, wanted in pairs{ [3] = "continue", [4] = "continue marked", [7.9] = "continue marked", [8] = "reject" } do
        is(outcome(score, { "Ann" }), wanted)
    end
    is(outcome(11.9, { "carol" }), "continue marked")
    is(outcome(12, { "carol" }), "reject")
    is(outcome(99, { "mark" }), "continue marked")
    is(outcome(19, { "ann@example.com" }), "continue")
    is(outcome(20, { "ann@example.com" }), "reject")
    is(send(8, { "ann" }).reply.text, "this looks like spam (8.0 points)")
    is(send(5, { "carol" }).fields["X-Spam-Score"], "5.0")
end

function test_who_wants_no_checks()
    asked = 0
    is(outcome(99, { "bob" }), "continue")
    is(outcome(99, { "Postmaster@example.com", "bob" }), "continue")
    is(asked, 0)
end

function test_several_who_want_the_same()
    asked = 0
    is(outcome(13, { "ann", "carol", "dave" }), "reject")
    is(outcome(5, { "ann", "carol", "mark" }), "continue marked")
    is(outcome(1, { "ann", "bob", "carol" }), "continue")
    is(asked, 3)
end

function test_several_who_do_not()
    is(outcome(9, { "ann", "carol" }), "continue marked without ann@example.net")
    is(outcome(9, { "ann", "bob" }), "continue without ann@example.net")
    is(outcome(4, { "ann", "carol" }), "continue")
    is(outcome(13, { "ann", "bob", "carol", "mark" }), "continue without ann@example.net carol@example.net")
    local log = table.concat(send(9, { "ann", "carol" }).log, "\n")
    assert(log:find("refused_for=ann@example.net", 1, true), log)
end

function test_those_with_other_rules_may_be_asked_for_a_mail_of_their_own()
    local result = send(9, { "ann", "carol", "bob" }, "ask")
    is(result.verdict, "reject")
    is(#result.recipients, 2)
    for i, name in ipairs{ "carol", "bob" } do
        is(result.recipients[i].address, name .. "@example.net")
        is(result.recipients[i].reply.code, 452)
    end
    is(outcome(9, { "carol", "dave" }, "ask"), "continue marked")
    is(#send(9, { "carol", "bob" }, "ask", { ip = "127.0.0.1" }).recipients, 0)
end

function test_mail_of_our_users_is_not_checked()
    asked = 0
    is(outcome(99, { "ann" }, nil, { ip = "127.0.0.1" }), "continue")
    is(asked, 0)
end

function test_rules_that_come_with_it()
    is(outcome(15, { "ann" }, nil, { config = {} }), "reject")
    is(outcome(15, { "abuse" }, nil, { config = {} }), "continue")
end

function test_what_is_no_rule_does_not_load()
    local result = run{ eml = MAIL, config = { rules_file = "/nonexistent/rules" } }
    assert(result.error:find("/nonexistent/rules: No such file", 1, true), result.error)
    result = run{ eml = MAIL, config = { rules_file = (RULES:gsub("%.txt$", ".lua")) } }
    assert(result.error:find("is there twice", 1, true) or result.error:find("is none of tag=SCORE, refuse=SCORE and off", 1, true), result.error)
    result = run{ eml = MAIL, config = { rules_several = "both" } }
    assert(result.error:find("rules_several is remove, split or ask", 1, true), result.error)
end
