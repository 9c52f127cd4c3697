-- What all the answers of DNS lead to stands in the tests of postern.dmarc.
local MAIL = "From: ann@example.org\nAuthentication-Results: mx.example.net; dmarc=pass\nX-DMARC: none\nSubject: lunch\n\nAt noon?\n"
local HERE = { j = "mx.example.net" }

local function names(result, action)
    local out = {}
    for _, a in ipairs(result.actions) do
        if a.action == action then out[#out + 1] = a.name end
    end
    return table.concat(out, " ")
end

function test_mail_of_our_users_is_not_judged()
    local result = run{ eml = MAIL, macros = { auth_authen = "ann", auth_type = "PLAIN" } }
    assert(result.verdict == "continue" and #result.actions == 0, result.error)
end

function test_forged_fields_go_and_ours_comes()
    local result = run{ eml = MAIL, ip = "198.51.100.7", macros = HERE }
    assert(result.verdict == "continue", result.error)
    assert(names(result, "delete_header") == "X-DMARC Authentication-Results", names(result, "delete_header"))
    assert(names(result, "insert_header") == "Authentication-Results")
end

function test_without_dns_mail_can_be_put_off()
    dns_answers{ ["example.org"] = "timeout", ["_dmarc.example.org"] = "timeout" }
    local result = run{ eml = MAIL, ip = "198.51.100.7", config = { dmarc_temperror = "tempfail" } }
    assert(result.verdict == "tempfail", result.error)
    assert(run{ eml = MAIL, ip = "198.51.100.7" }.verdict == "continue")
end

function test_an_author_behind_too_many_others()
    local others = {}
    for i = 1, 10 do others[i] = ("x@other%d.example"):format(i) end
    local mail = "From: " .. table.concat(others, ", ") .. ", ann@example.org\nSubject: lunch\n\nAt noon?\n"
    local result = run{ eml = mail, ip = "198.51.100.7", macros = HERE }
    assert(result.verdict == "continue" and names(result, "set_header") == "X-DMARC", result.error)
    result = run{ eml = mail, ip = "198.51.100.7", macros = HERE, config = { dmarc_quarantine = "hold" } }
    local held
    for _, action in ipairs(result.actions) do
        held = action.action == "hold" and action.value or held
    end
    assert(held == "DMARC: there are too many domains in From", held)
end

function test_the_policy_of_the_domain()
    dns_answers{
        ["example.org"] = { A = { "192.0.2.1" }, TXT = { "v=spf1 ip4:192.0.2.1 -all" } },
        ["_dmarc.example.org"] = { TXT = { "v=DMARC1; p=reject" } },
    }
    local result = run{ eml = MAIL, ip = "198.51.100.7", sender = "ann@example.org" }
    assert(result.verdict == "reject", result.error)
    assert(run{ eml = MAIL, ip = "192.0.2.1", sender = "ann@example.org" }.verdict == "continue")
    dns_answers{ ["_dmarc.example.org"] = { TXT = { "v=DMARC1; p=quarantine" } } }
    result = run{ eml = MAIL, ip = "198.51.100.7", sender = "ann@example.org" }
    assert(result.verdict == "continue" and names(result, "set_header") == "X-DMARC", names(result, "set_header"))
end
