local function mail(subject, body)
    return "Subject: " .. subject .. "\nMIME-Version: 1.0\nContent-Type: text/plain; charset=utf-8\n\n" .. body .. "\n"
end

local function verdict(subject, body, settings)
    local result = run{ eml = mail(subject, body), ip = "198.51.100.7", config = settings }
    return result.verdict, result
end

function test_a_phrase_in_the_subject_or_text()
    assert(verdict("You have WON the lottery!", "x") == "reject")
    local found, result = verdict("x", "This is a risk-free\ninvestment, honestly")
    assert(found == "reject" and result.reply.code == 550, found)
    assert(result.log[1]:find('the list has "risk free investment"'), result.log[1])
    assert(not result.reply.text:find("risk"))
end

function test_other_mail_passes()
    assert(verdict("lunch", "You have won a lottery ticket. You have won the lotteryx.") == "continue")
    assert(verdict("risk", "free investment") == "continue")
end

function test_letters_pulled_apart_by_nothing()
    assert(verdict("x", "risk-fr\u{200b}ee in\u{ad}vestment") == "reject")
end

function test_phrases_that_begin_alike()
    assert(verdict("x", "act now, act now before it expires") == "reject")
    assert(verdict("x", "act now, act now before it") == "continue")
end

function test_our_own_users()
    local words = { eml = mail("x", "risk-free investment"), macros = { auth_type = "PLAIN", auth_authen = "bob" } }
    assert(run(words).verdict == "continue")
    words.config = { word_list_outgoing = true }
    assert(run(words).verdict == "reject")
end

function test_the_text_of_the_reply()
    local _, result = verdict("x", "risk-free investment", { word_list_text = "no, thank you" })
    assert(result.reply.text == "no, thank you")
end

function test_without_a_list_the_filter_does_not_load()
    local _, result = verdict("x", "y", { word_list = "/nonexistent/words" })
    assert(result.verdict == "error" and result.error:find("/nonexistent/words: No such file", 1, true), result.error)
end

function test_text_that_is_too_long_to_look_through()
    local found, result = verdict("x", ("filler word\n"):rep(800000) .. "risk-free investment")
    assert(found == "reject" and result.log[1]:find("worker.max_text"), found)
end
