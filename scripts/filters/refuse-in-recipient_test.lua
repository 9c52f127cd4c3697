local MAIL = "From: ann@example.org\nSubject: lunch\n\nAt noon?\n"
local LISTS = { refuse_networks = "203.0.113.0/24", refuse_helos = "localhost Example.NET", refuse_senders = "Eve@example.com, @bad.example" }

local function send(with)
    local mail = { eml = MAIL, ip = "192.0.2.1", helo = "mail.example.org", sender = "ann@example.org", recipients = { "bob@example.net" }, config = LISTS }
    for name, value in pairs(with) do
        mail[name] = value
    end
    local result = run(mail)
    assert(not result.error, result.error)
    return result
end

local function is_refused(with, text)
    local result = send(with)
    assert(result.verdict == "reject" and result.reply.code == 554 and result.reply.dsn == "5.7.1", result.verdict)
    assert(result.recipients[1].address == "bob@example.net", "it is the recipient that is refused")
    assert(result.reply.text:find(text, 1, true), result.reply.text)
    assert(result.reply.text:find("write to postmaster", 1, true))
end

function test_the_client_is_refused_with_a_text()
    for _, ip in ipairs{ "198.51.100.7", "2001:db8:bad::1" } do
        is_refused({ ip = ip, config = {} }, "mail from " .. ip)
    end
    is_refused({ ip = "203.0.113.5" }, "mail from 203.0.113.5 is not taken here")
end

function test_what_it_calls_itself()
    for _, helo in ipairs{ "localhost", "LOCALHOST.", "example.net" } do
        is_refused({ helo = helo }, "calls itself " .. helo:lower():gsub("%.$", "") .. " is not believed here")
    end
end

function test_the_sender()
    is_refused({ sender = "eve@Example.com" }, "mail of eve@example.com is not taken here")
    is_refused({ sender = "anybody@BAD.example" }, "mail of anybody@bad.example is not taken here")
end

function test_postmaster_and_abuse_are_reached()
    for _, with in ipairs{ { ip = "203.0.113.5" }, { helo = "localhost" }, { sender = "eve@example.com" } } do
        with.recipients = { "bob@example.net", "Postmaster@example.net", "abuse@example.com" }
        local result = send(with)
        assert(result.verdict == "continue", result.verdict)
        assert(#result.recipients == 1 and result.recipients[1].address == "bob@example.net")
    end
end

function test_others_are_not_refused()
    for _, with in ipairs{ {}, { ip = "198.51.100.7" }, { helo = "mail.example.net" }, { sender = "" }, { sender = "ann@example.com" },
        { ip = "203.0.113.5", macros = { auth_authen = "ann", auth_type = "PLAIN" } }, { ip = "127.0.0.1", helo = "localhost" } } do
        local result = send(with)
        assert(result.verdict == "continue" and #result.actions == 0, result.reply and result.reply.text)
    end
end
