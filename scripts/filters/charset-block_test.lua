local function mail(charset, subject)
    return "Subject: " .. (subject or "x") .. "\nMIME-Version: 1.0\nContent-Type: text/plain; charset=\"" .. charset .. "\"\n\nhello\n"
end

function test_what_hides_text_is_refused()
    local result = run{ eml = mail("UTF-7") }
    assert(result.verdict == "reject" and result.reply.text:find("utf%-7"), result.verdict)
    assert(result.log[1]:find("refused: charset utf%-7"), result.log[1])
    assert(run{ eml = mail("utf-16le") }.verdict == "reject")
end

function test_others_pass()
    for _, charset in ipairs{ "utf-8", "us-ascii", "koi8-r", "iso-2022-jp", "windows-1252" } do
        assert(run{ eml = mail(charset) }.verdict == "continue", charset)
    end
end

function test_encoded_words_in_the_header_count()
    local settings = { blocked_charsets = "cyrillic" }
    assert(run{ eml = mail("us-ascii", "=?koi8-r?B?8NLJ18XU?="), config = settings }.verdict == "reject")
    assert(run{ eml = mail("us-ascii", "=?utf-8?B?0J/RgNC40LLQtdGC?="), config = settings }.verdict == "continue")
end

function test_a_part_deep_inside_counts()
    local inner = "Content-Type: multipart/mixed; boundary=i\n\n--i\nContent-Type: text/html; charset=GB2312\n\nx\n--i--\n"
    local text = "Subject: x\nMIME-Version: 1.0\nContent-Type: multipart/mixed; boundary=o\n\n--o\n" .. inner .. "--o--\n"
    assert(run{ eml = text, config = { blocked_charsets = "chinese" } }.verdict == "reject")
end

function test_names_beginnings_and_exceptions()
    local settings = { blocked_charsets = "Windows-125*, big5", allowed_charsets = "windows-1252" }
    assert(run{ eml = mail("windows-1251"), config = settings }.verdict == "reject")
    assert(run{ eml = mail("BIG5"), config = settings }.verdict == "reject")
    assert(run{ eml = mail("windows-1252"), config = settings }.verdict == "continue")
    assert(run{ eml = mail("utf-7"), config = settings }.verdict == "continue")
end

function test_senders_who_may()
    local settings = { charset_senders = "@partner.example, bob@example.org" }
    assert(run{ eml = mail("utf-7"), sender = "ann@Partner.example", config = settings }.verdict == "continue")
    assert(run{ eml = mail("utf-7"), sender = "Bob@example.org", config = settings }.verdict == "continue")
    assert(run{ eml = mail("utf-7"), sender = "eve@example.org", config = settings }.verdict == "reject")
end

function test_a_crowd_of_charsets_hides_none()
    local words = {}
    for i = 1, 70 do words[i] = "=?x-" .. i .. "?q?a?=" end
    local result = run{ eml = mail("us-ascii", table.concat(words, "\n ") .. "\n =?koi8-r?q?a?="), config = { blocked_charsets = "cyrillic" } }
    assert(result.verdict == "reject" and result.log[1]:find("refused: "), result.verdict)
end
