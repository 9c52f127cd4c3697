-- Run by test_modules.py, with allow lists in [greylist].
local MAIL = "From: ann@example.org\nSubject: lunch\n\nAt noon?\n"

local function send(with)
    local mail = { eml = MAIL, ip = "198.51.100.7", hostname = "mail.strange.example", sender = "ann@example.org",
        recipients = { "bob@example.net" } }
    for name, value in pairs(with or {}) do
        mail[name] = value
    end
    local result = run(mail)
    assert(not result.error, result.error)
    for _, action in ipairs(result.actions) do
        if action.name == "X-Greylist" then
            return nil, action.value
        end
    end
    return result.recipients[1] and result.recipients[1].reply.text, nil
end

local function waits(with)
    local text = send(with)
    return text ~= nil and text:find("wait", 1, true) ~= nil
end

function test_allow_lists()
    local _, header = send{ ip = "203.0.113.9" }
    assert(header:find("not delayed, network in the allow list", 1, true), header)
    assert(waits{ ip = "203.0.114.9" })
    assert(not waits{ ip = "2001:db8:77::1" })
    _, header = send{ hostname = "mx1.friends.example" }
    assert(header:find("name in the allow list", 1, true), header)
    assert(not waits{ hostname = "Friends.Example" })
    assert(waits{ hostname = "enemiesfriends.example" })
    assert(waits{ hostname = "[198.51.100.7]" })
    _, header = send{ sender = "News@Lists.Example" }
    assert(header:find("sender in the allow list", 1, true), header)
    assert(not waits{ sender = "bounces@anywhere.example" })
    assert(waits{ sender = "news@sub.lists.example" })
    _, header = send{ recipients = { "abuse@example.net" } }
    assert(header:find("recipient in the allow list", 1, true), header)
    assert(not waits{ recipients = { "Postmaster@example.net" } })
    assert(not waits{ recipients = { "anybody@open.example" } })
    assert(waits{ recipients = { "postmasters@example.net" } })
end

function test_an_identity_stands_in_place_of_the_network()
    local config = { identity = "dkim:example.org" }
    assert(waits{ config = config })
    advance_clock(301)
    assert(not waits{ config = config, ip = "192.0.2.200", sender = "eve@example.com" })
    assert(waits{ config = { identity = "dkim:example.com" } })
    assert(waits())
end

function test_a_delay_of_its_own()
    assert(send{ config = { delay = 60 } } == "wait 60")
    advance_clock(61)
    assert(not waits{ config = { delay = 60 } })
end

function test_a_clock_that_was_set_back()
    local store = require "postern.store"
    assert(waits())
    local key = store.keys("greylist:")[1]
    store.set(key, os.time() + 86400)
    assert(send() == "wait 300", "as long as for a new one, and no longer")
end

function test_what_others_wrote_does_no_harm()
    local store = require "postern.store"
    assert(waits())
    local key = store.keys("greylist:")[1]
    for _, value in ipairs{ "text", 1.5, true, { 1 }, 0 } do
        store.set(key, value)
        assert(waits(), tostring(value))
    end
end

function test_long_addresses()
    local long = ("x"):rep(900) .. "@example.org"
    assert(waits{ sender = long, recipients = { ("y"):rep(900) .. "@example.net" } })
    assert(waits{ sender = "a@" .. ("z"):rep(900) .. ".example" })
end

function test_behind_our_own_edge_nobody_is_judged_before_the_header_is_there()
    assert(not waits{ ip = "192.0.2.25", hostname = "edge.example.net" })
end
