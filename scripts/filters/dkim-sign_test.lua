local MAIL = "From: ann@example.org\nSubject: lunch\n\nAt noon?\n"
local USER = { auth_authen = "ann", auth_type = "PLAIN" }

function test_nothing_is_signed_without_domains()
    local result = run{ eml = MAIL, macros = USER }
    assert(result.verdict == "continue" and not result.error, result.error)
    assert(#result.actions == 0)
end

function test_a_key_must_be_there()
    local result = run{ eml = MAIL, macros = USER, config = { dkim_domains = "example.org" } }
    assert(result.error:find("dkim_key is not set", 1, true), result.error)
    result = run{ eml = MAIL, macros = USER, config = { dkim_domains = "example.org", dkim_key = "/nonexistent", dkim_selector = "a" } }
    assert(result.error:find("/nonexistent: No such file", 1, true) or result.error:find("/nonexistent: Permission", 1, true), result.error)
end
