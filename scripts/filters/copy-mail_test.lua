local MAIL = "From: ann@example.org\nTo: bob@example.net\nSubject: lunch\n\nAt noon?\n"
local BOTH = { copy_incoming = "in@archive.example, second@archive.example", copy_outgoing = "out@archive.example" }
local OUTSIDE = "198.51.100.7"
local OURS = { auth_type = "PLAIN", auth_authen = "bob" }

local function added(words)
    local result = run(words)
    assert(result.verdict == "continue", result.error)
    local found = {}
    for _, action in ipairs(result.actions) do
        assert(action.action == "add_recipient", action.action)
        found[#found + 1] = action.address
    end
    return table.concat(found, " "), result
end

function test_incoming_and_outgoing_go_to_their_own_addresses()
    local addresses, result = added{ eml = MAIL, ip = OUTSIDE, config = BOTH }
    assert(addresses == "in@archive.example second@archive.example", addresses)
    assert(result.actions[1].args == "NOTIFY=NEVER", result.actions[1].args)
    assert(added{ eml = MAIL, ip = OUTSIDE, macros = OURS, config = BOTH } == "out@archive.example")
end

function test_one_direction_only()
    local settings = { copy_outgoing = "out@archive.example" }
    assert(added{ eml = MAIL, ip = OUTSIDE, config = settings } == "")
end

function test_who_gets_it_anyway_gets_no_copy()
    local recipients = { "bob@example.net", "IN@archive.example" }
    assert(added{ eml = MAIL, ip = OUTSIDE, recipients = recipients, config = BOTH } == "second@archive.example")
end

function test_only_mail_from_or_to_some()
    local settings = { copy_incoming = "in@archive.example", copy_of = "@example.com, boss@, ann@example.org" }
    local function is_copied(sender, recipient)
        return added{ eml = MAIL, ip = OUTSIDE, sender = sender, recipients = { recipient }, config = settings } ~= ""
    end
    assert(is_copied("x@Example.com", "y@example.net") and is_copied("x@example.org", "boss@example.net"))
    assert(is_copied("Ann@example.org", "y@example.net") and is_copied("boss@example.org", "y@example.net"))
    assert(not is_copied("x@example.org", "y@example.net") and not is_copied("", "y@example.net"))
end

function test_large_mail()
    local settings = { copy_incoming = "in@archive.example", copy_max_size = 100 }
    assert(added{ eml = MAIL, ip = OUTSIDE, config = settings } ~= "")
    assert(added{ eml = MAIL .. ("x"):rep(100) .. "\n", ip = OUTSIDE, config = settings } == "")
end

function test_without_an_address_the_filter_does_not_load()
    local result = run{ eml = MAIL }
    assert(result.verdict == "error" and result.error:find("set copy_incoming or copy_outgoing"), result.error)
end
