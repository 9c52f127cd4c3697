local MAIL = "From: ann@example.org\nSubject: news\nMIME-Version: 1.0\nContent-Type: multipart/alternative; boundary=b\n\n"
    .. "--b\nContent-Type: text/plain\n\nRead http://a.example/1?utm_source=x&id=1 now.\n--b\nContent-Type: text/html\n\n"
    .. "<a href=\"http://a.example/1?utm_source=x&amp;id=1\">now</a><img src='http://a.example/2?id=2'>\n--b--\n"

local function body(result)
    assert(result.verdict == "continue", result.error)
    for _, action in ipairs(result.actions) do
        if action.action == "replace_body" then return action.body end
    end
end

function test_parameters_go()
    local result = run{ eml = MAIL, ip = "198.51.100.7" }
    local new = body(result)
    assert(new:find("Read http://a.example/1?id=1 now.", 1, true), new)
    assert(new:find('<a href="http://a.example/1?id=1">now</a><img src=\'http://a.example/2?id=2\'>', 1, true), new)
    assert(result.log[1]:find("tracking parameters: 2"), result.log[1])
end

function test_other_mail_stays()
    local result = run{ eml = MAIL:gsub("utm_source", "page"), ip = "198.51.100.7" }
    assert(#result.actions == 0 and #result.log == 0)
end

function test_names()
    local new = body(run{ eml = MAIL, ip = "198.51.100.7", config = { tracking_params = "ID" } })
    assert(new:find("Read http://a.example/1?utm_source=x now.", 1, true) and new:find("src=\"http://a.example/2\"", 1, true), new)
end

function test_directions()
    local ours = { auth_type = "PLAIN", auth_authen = "ann" }
    assert(not body(run{ eml = MAIL, macros = ours }))
    assert(body(run{ eml = MAIL, macros = ours, config = { tracking_directions = "both" } }))
    assert(body(run{ eml = MAIL, macros = ours, config = { tracking_directions = "out" } }))
    assert(not body(run{ eml = MAIL, ip = "198.51.100.7", config = { tracking_directions = "out" } }))
    assert(run{ eml = MAIL, config = { tracking_directions = "up" } }.error:find("tracking_directions is"))
end
