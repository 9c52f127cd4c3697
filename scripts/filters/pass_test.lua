function test_nothing_is_changed_or_refused()
    local result = run{ eml = "Subject: lunch\n\nAt noon?\n", ip = "198.51.100.7" }
    assert(result.verdict == "continue" and #result.actions == 0, result.error)
end
