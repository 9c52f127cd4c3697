local MAIL = "From: ann@example.org\nSubject: lunch\n\nAt noon?\n"
local LIMITS = { rate_limit = 10, rate_period = 3600, rate_burst = 3 }

local function send(n, user)
    local recipients = {}
    for i = 1, n do
        recipients[i] = "bob" .. i .. "@example.net"
    end
    local result = run{ eml = MAIL, ip = "198.51.100.7", recipients = recipients, config = LIMITS,
        macros = user and { auth_authen = user, auth_type = "PLAIN" } or nil }
    assert(not result.error, result.error)
    return result.recipients
end

function test_each_recipient_counts()
    assert(#send(2, "ann") == 0)
    local refused = send(3, "Ann")
    assert(#refused == 2 and refused[1].address == "bob2@example.net")
    assert(refused[1].reply.code == 452 and refused[1].reply.dsn == "4.7.1")
    assert(refused[1].reply.text:find("please go on in 3%d%d seconds"), refused[1].reply.text)
end

function test_after_a_while_there_is_room_again()
    assert(#send(3, "ann") == 0)
    assert(#send(1, "ann") == 1)
    advance_clock(361)
    assert(#send(2, "ann") == 1)
    advance_clock(3600)
    assert(#send(4, "ann") == 1)
end

function test_users_count_for_themselves_and_others_not_at_all()
    assert(#send(3, "ann") == 0)
    assert(#send(1, "ann") == 1)
    assert(#send(3, "eve") == 0)
    assert(#send(30) == 0)
end
