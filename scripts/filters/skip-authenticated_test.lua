local MAIL = "From: ann@example.org\nSubject: lunch\n\nAt noon?\n"
local ANN = { auth_authen = "Ann", auth_type = "PLAIN" }

-- How often spamd is asked, and what it says each time.
local asked
local function spamd(score)
    asked = 0
    fake_backend("spamassassin", function()
        asked = asked + 1
        return { status = score >= 5 and "spam" or "clean", is_spam = score >= 5, score = score, threshold = 5, report = "", tests = {} }
    end)
end

local function send(with)
    local mail = { eml = MAIL, ip = "198.51.100.7" }
    for name, value in pairs(with or {}) do
        mail[name] = value
    end
    local result = run(mail)
    assert(not result.error, result.error)
    return result, table.concat(result.log, "\n")
end

local function flag(result)
    for _, action in ipairs(result.actions) do
        if action.name == "X-Spam-Flag" and action.action ~= "delete_header" then
            return action.value
        end
    end
end

function test_strangers_are_checked()
    spamd(7)
    local result, log = send()
    assert(asked == 1 and result.verdict == "continue" and flag(result) == "YES", result.verdict)
    assert(log:find("spam=7.0", 1, true), log)
    assert(send{ config = { skip_refuse = 7 } }.verdict == "reject")
    spamd(15)
    assert(send().reply.code == 554)
    spamd(1)
    assert(flag((send())) == nil and asked == 1)
end

function test_users_and_our_own_networks_are_not()
    spamd(20)
    local ours = { skip_networks = "192.0.2.0/24, 2001:db8::/32" }
    local rows = {
        { { macros = ANN }, "user Ann" },
        { { ip = "127.0.0.1" }, "this machine" },
        { { ip = "local" }, "this machine" },
        { { ip = "192.0.2.77", config = ours }, "own network" },
        { { ip = "2001:db8::1", config = ours }, "own network" },
    }
    for _, row in ipairs(rows) do
        local result, log = send(row[1])
        assert(result.verdict == "continue" and asked == 0 and not flag(result), row[2])
        assert(log:find("spam_skipped=" .. row[2], 1, true), log)
    end
    assert(send{ ip = "192.0.2.77" }.verdict == "reject", "only what the settings name")
    assert(send{ config = ours }.verdict == "reject")
end

function test_a_user_who_sends_a_flood_is_checked()
    spamd(20)
    local with = { macros = ANN, config = { skip_rate = 3 } }
    for _ = 1, 3 do
        assert(send(with).verdict == "continue")
    end
    local result, log = send(with)
    assert(result.verdict == "reject" and log:find("Ann has sent more than 3 mails in an hour", 1, true), log)
    assert(send{ macros = { auth_authen = "bob", auth_type = "PLAIN" }, config = { skip_rate = 3 } }.verdict == "continue", "others are not")
    advance_clock(3600)
    assert(send(with).verdict == "continue", "it is over")
    assert(asked == 1)
    with.config.skip_rate = 0
    for _ = 1, 9 do
        assert(send(with).verdict == "continue")
    end
end

function test_foreign_fields_go()
    spamd(0)
    local result = send{ eml = "X-Spam-Flag: YES\n" .. MAIL }
    assert(#result.actions == 1 and result.actions[1].action == "delete_header", #result.actions)
end

function test_mail_from_outside_waits_for_spamd()
    fake_backend("spamassassin", function() return nil, "timeout" end)
    assert(send().verdict == "tempfail")
    assert(send{ macros = ANN }.verdict == "continue")
end
