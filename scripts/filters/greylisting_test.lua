local store = require "postern.store"

local MAIL = "From: ann@example.org\nSubject: lunch\n\nAt noon?\n"

local function send(with)
    local mail = { eml = MAIL, ip = "198.51.100.7", hostname = "mail.example.org", sender = "ann@example.org",
        recipients = { "bob@example.net" } }
    for name, value in pairs(with or {}) do
        mail[name] = value
    end
    local result = run(mail)
    assert(not result.error, result.error)
    local refused = result.recipients[1]
    return refused and refused.reply, result
end

local function header(result)
    for _, action in ipairs(result.actions) do
        if action.name == "X-Greylist" then
            return action.value
        end
    end
end

function test_who_comes_again_is_let_through()
    local reply = send()
    assert(reply.code == 451 and reply.dsn == "4.7.1", reply.dsn)
    assert(reply.text:find("in 300 seconds", 1, true), reply.text)
    advance_clock(100)
    local left = tonumber(send().text:match("in (%d+) seconds"))
    assert(left <= 200 and left > 100, "it waits for what is left")
    advance_clock(left)
    local refused, result = send()
    assert(not refused)
    assert(header(result):find("^delayed 00:05:%d%d"), header(result))
    refused, result = send()
    assert(not refused)
    assert(header(result):find("not delayed, auto-allowed", 1, true), header(result))
end

function test_another_address_of_the_network_and_another_sender_of_the_domain_will_do()
    assert(send())
    advance_clock(301)
    assert(not send{ ip = "198.51.100.200", hostname = "[198.51.100.200]", sender = "eve@Example.ORG" })
    assert(send{ ip = "198.51.101.7" }, "another network waits")
    assert(send{ sender = "ann@example.com" }, "another domain waits")
    assert(send{ recipients = { "carol@example.net" } }, "another recipient waits")
    assert(send{ sender = "" }, "the null sender waits")
    assert(not send{ recipients = { "BOB@example.net" } })
end

function test_ipv6_counts_by_64_bits()
    assert(send{ ip = "2001:db8:1:2:3::1" })
    advance_clock(301)
    assert(not send{ ip = "2001:db8:1:2:ffff::9" })
    assert(send{ ip = "2001:db8:1:3::1" })
end

function test_who_comes_too_late_waits_again()
    assert(send())
    advance_clock(2 * 86400 + 1)
    assert(send())
end

function test_who_is_silent_for_long_is_a_stranger_again()
    send()
    advance_clock(301)
    assert(not send())
    for _ = 1, 4 do
        advance_clock(30 * 86400)
        assert(not send(), "each mail counts")
    end
    advance_clock(36 * 86400)
    assert(send())
end

function test_a_client_with_many_that_came_again_waits_no_more()
    for i = 1, 10 do
        assert(send{ recipients = { "bob" .. i .. "@example.net" } })
    end
    advance_clock(301)
    for i = 1, 10 do
        assert(not send{ recipients = { "bob" .. i .. "@example.net" } })
    end
    local refused, result = send{ recipients = { "new@example.net" } }
    assert(not refused)
    assert(header(result):find("auto-allowed client", 1, true))
    assert(send{ recipients = { "new@example.net" }, sender = "ann@example.com" }, "only for that domain")
    advance_clock(36 * 86400)
    assert(send{ recipients = { "newer@example.net" } })
end

function test_users_of_ours_do_not_wait()
    local refused, result = send{ ip = "127.0.0.1" }
    assert(not refused)
    assert(header(result):find("not delayed, sent by a user of ours", 1, true), header(result))
    assert(not send{ macros = { auth_authen = "ann", auth_type = "PLAIN" } })
    assert(#store.keys("greylist") == 0)
end

function test_each_recipient_waits_for_itself()
    send()
    advance_clock(301)
    local result = run{ eml = MAIL, ip = "198.51.100.7", sender = "ann@example.org",
        recipients = { "bob@example.net", "carol@example.net" } }
    assert(#result.recipients == 1 and result.recipients[1].address == "carol@example.net")
    assert(result.verdict == "continue", result.verdict)
    local n = 0
    for _, action in ipairs(result.actions) do
        n = n + (action.name == "X-Greylist" and 1 or 0)
    end
    assert(n == 1, "one field, whatever the number of recipients")
end
