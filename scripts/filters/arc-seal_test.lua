local MAIL = "From: ann@example.org\nSubject: lunch\n\nAt noon?\n"

function test_nothing_is_sealed_without_a_domain()
    local result = run{ eml = MAIL, ip = "198.51.100.7" }
    assert(result.verdict == "continue" and not result.error, result.error)
    assert(#result.actions == 0)
end

function test_a_key_must_be_there()
    local result = run{ eml = MAIL, config = { arc_domain = "example.net" } }
    assert(result.error:find("arc_key is not set", 1, true), result.error)
end
