-- Run by test_modules.py with greylist.spf_key.
local function waits(sender, ip)
    local result = run{ eml = "Subject: x\n\nx\n", ip = ip, hostname = "mail.example.org", sender = sender, recipients = { "bob@example.net" } }
    assert(not result.error, result.error)
    return #result.recipients == 1
end

function test_with_a_pass_the_domain_counts_wherever_it_comes_from()
    assert(waits("pass@example.org", "198.51.100.7"))
    advance_clock(301)
    assert(not waits("pass.too@example.org", "203.0.113.200"))
    assert(not waits("pass@example.org", "2001:db8::1"))
    assert(waits("pass@example.com", "198.51.100.7"))
end

function test_without_one_it_is_the_network()
    assert(waits("pass@example.org", "198.51.100.7"))
    advance_clock(301)
    assert(waits("ann@example.org", "198.51.100.7"), "who forges the domain gains nothing by it")
end
