local function mail(subject, body)
    return "Subject: " .. subject .. "\nMIME-Version: 1.0\nContent-Type: text/plain; charset=utf-8\n\n" .. body .. "\n"
end

local function value(result)
    return result.actions[1] and result.actions[1].value
end

function test_words_of_subject_and_text_are_counted()
    local result = run{ eml = mail("Invoice 7", "Your invoice, the INVOICE. An invoicee, re-invoice.") }
    assert(result.verdict == "continue", result.error)
    assert(value(result) == "invoice=4", value(result))
    assert(result.actions[1].name == "X-Words")
end

function test_html_counts_as_it_is_read()
    local html = "Subject: x\nMIME-Version: 1.0\nContent-Type: text/html\n\n<p class=\"invoice\">in<b>voice</b> &#105;nvoice</p>\n"
    assert(value(run{ eml = html }) == "invoice=2")
end

function test_nothing_found_changes_nothing()
    assert(#run{ eml = mail("x", "no such word") }.actions == 0)
end

function test_a_forged_field_goes()
    local result = run{ eml = "X-Words: invoice=9\n" .. mail("x", "none") }
    assert(result.actions[1].action == "delete_header" and #result.actions == 1)
end

function test_several_words_in_the_order_of_the_setting()
    local settings = { count_words = "payment, Rechnung,prüfung", count_header = "X-Count" }
    local result = run{ eml = mail("rechnung", "payment Rechnung prüfung"), config = settings }
    assert(result.actions[1].name == "X-Count")
    assert(result.log[1] == "words=payment=1, rechnung=2, prüfung=1", result.log[1])
end

function test_hold()
    local settings = { count_hold = 2, count_header = false }
    assert(#run{ eml = mail("x", "invoice"), config = settings }.actions == 0)
    local result = run{ eml = mail("x", "invoice invoice"), config = settings }
    assert(result.actions[1].action == "hold" and result.actions[1].value == "words: invoice=2")
end
