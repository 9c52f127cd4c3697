local PLAIN = "From: ann@example.org\nSubject: lunch\n\nAt noon?\n"
local BOTH = "From: ann@example.org\nSubject: lunch\nMIME-Version: 1.0\nContent-Type: multipart/alternative; boundary=b\n\n"
    .. "--b\nContent-Type: text/plain\n\nAt noon?\n--b\nContent-Type: text/html\n\n<body><p>At noon?</p></body>\n--b--\n"
local OURS = { auth_type = "PLAIN", auth_authen = "ann" }

local function body(result)
    for _, action in ipairs(result.actions) do
        if action.action == "replace_body" then return action.body end
    end
end

function test_outgoing_mail_gets_it()
    local result = run{ eml = PLAIN, macros = OURS, sender = "ann@example.org" }
    assert(result.verdict == "continue", result.error)
    assert(body(result):find("At noon%?\r?\n\r?\n%-%- \r?\nThis mail is for its recipients"), body(result))
    assert(body(result):find("tell ann@example.org", 1, true))
end

function test_incoming_mail_does_not()
    local result = run{ eml = PLAIN, ip = "198.51.100.7" }
    assert(#result.actions == 0 and #result.log == 0)
end

function test_both_forms()
    local settings = { disclaimer_text = "Text by ${sender}", disclaimer_html = "<p><b>HTML</b> about ${subject}</p>" }
    local new = body(run{ eml = BOTH:gsub("lunch", "a < b", 1), macros = OURS, config = settings, sender = "ann@example.org" })
    assert(new:find("Text by ann@example.org", 1, true))
    assert(new:find("<p>At noon%?</p><p><b>HTML</b> about a &lt; b</p>\r?\n</body>"), new)
    assert(not new:find("Text by.*Text by"))
end

function test_text_alone_is_escaped_into_html()
    local new = body(run{ eml = BOTH, macros = OURS, config = { disclaimer_text = "1 < 2" } })
    assert(new:find("<p>1 &lt; 2</p>", 1, true) and new:find("\n1 < 2", 1, true), new)
end

function test_once_in_a_thread()
    local settings = { disclaimer_text = "Example Ltd,\nregistered in Examplia" }
    local reply = PLAIN .. "> Yes\n> Example Ltd, registered\n> in Examplia\n"
    local result = run{ eml = reply, macros = OURS, config = settings }
    assert(#result.actions == 0)
    assert(result.log[1]:find("no disclaimer: already there"), result.log[1])
end

function test_marker()
    local settings = { disclaimer_text = "Example Ltd, ${date}", disclaimer_marker = "Example Ltd" }
    assert(#run{ eml = PLAIN .. "> Example Ltd, 1999-01-01\n", macros = OURS, config = settings }.actions == 0)
    assert(body(run{ eml = PLAIN, macros = OURS, config = settings }):find("Example Ltd, %d%d%d%d%-%d%d%-%d%d"))
end

function test_a_variable_that_nobody_knows()
    local result = run{ eml = PLAIN, macros = OURS, config = { disclaimer_text = "by ${sneder}" } }
    assert(result.error:find("a variable 'sneder' that is not known"), result.error)
    result = run{ eml = PLAIN, macros = OURS, config = { disclaimer_text = "by ${sender" } }
    assert(result.error:find("a variable is not closed"), result.error)
end

function test_signed_mail_is_left_alone()
    local signed = "Subject: x\nMIME-Version: 1.0\nContent-Type: multipart/signed; protocol=\"application/pgp-signature\"; boundary=b\n\n"
        .. "--b\nContent-Type: text/plain\n\nhello\n--b\nContent-Type: application/pgp-signature\n\nx\n--b--\n"
    local result = run{ eml = signed, macros = OURS }
    assert(#result.actions == 0 and result.log[1]:find("no disclaimer: signed"), result.log[1])
end
