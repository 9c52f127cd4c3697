local MAIL = "From: ann@example.org\nSubject: lunch\n\nAt noon?\n"
local REPLY = "From: bob@example.net\nSubject: Re: [external] lunch\nX-External: yes\n\nYes.\n"

local function action(result, name)
    for _, a in ipairs(result.actions) do
        if a.action == name then return a end
    end
end

function test_mail_from_outside_is_marked()
    local result = run{ eml = MAIL, ip = "198.51.100.7" }
    assert(result.verdict == "continue", result.error)
    assert(action(result, "set_header").value == "[external] lunch")
    assert(action(result, "add_header").name == "X-External" and action(result, "add_header").value == "yes")
    assert(action(result, "replace_body").body:find("At noon%?\r?\n\r?\n%-%- \r?\nThis mail came from outside"))
end

function test_the_tag_stands_once_and_in_front()
    local result = run{ eml = REPLY, ip = "198.51.100.7" }
    assert(action(result, "set_header").value == "[external] Re: lunch", action(result, "set_header").value)
end

function test_mail_of_our_users_loses_the_marks()
    local result = run{ eml = REPLY, macros = { auth_type = "PLAIN", auth_authen = "bob" } }
    assert(action(result, "set_header").value == "Re: lunch")
    assert(action(result, "delete_header").name == "X-External")
    assert(not action(result, "replace_body") and not action(result, "add_header"))
end

function test_plain_mail_of_our_users_is_not_touched()
    local result = run{ eml = MAIL, macros = { auth_type = "PLAIN", auth_authen = "bob" } }
    assert(#result.actions == 0, #result.actions)
end

function test_partners()
    local settings = { external_partners = "192.0.2.0/24, 2001:db8::/32" }
    assert(#run{ eml = MAIL, ip = "2001:db8::7", config = settings }.actions == 0)
    assert(#run{ eml = MAIL, ip = "198.51.100.7", config = settings }.actions > 0)
end

function test_each_mark_can_be_switched_off()
    local off = { external_tag = "", external_header = false, external_banner = false }
    assert(#run{ eml = MAIL, ip = "198.51.100.7", config = off }.actions == 0)
    off.external_tag = "[*%]"
    assert(run{ eml = MAIL, ip = "198.51.100.7", config = off }.actions[1].value == "[*%] lunch")
end

function test_signed_mail_gets_no_note()
    local signed = "Subject: x\nMIME-Version: 1.0\nContent-Type: multipart/signed; protocol=\"application/pgp-signature\"; boundary=b\n\n"
        .. "--b\nContent-Type: text/plain\n\nhello\n--b\nContent-Type: application/pgp-signature\n\nx\n--b--\n"
    local result = run{ eml = signed, ip = "198.51.100.7" }
    assert(not action(result, "replace_body") and action(result, "set_header"))
    assert(result.log[1]:find("no note: signed"), result.log[1])
end
