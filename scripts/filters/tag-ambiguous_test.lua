local function mail(header, body)
    return "From: a@example.org\nSubject: x\nMIME-Version: 1.0\n" .. header .. "\n\n" .. body
end

local ambiguous = mail("Content-Type: multipart/mixed; boundary=a; boundary=b", "--b\n\nx\n--b--\n")

local function tag_of(result, name)
    for _, action in ipairs(result.actions) do
        if action.action == "add_header" and action.name == (name or "X-Ambiguous") then
            return action.value
        end
    end
end

function test_ambiguous_mail_is_marked_and_goes_on()
    local result = run{ eml = ambiguous }
    assert(result.verdict == "continue", result.verdict)
    local tag = tag_of(result)
    assert(tag and tag:find("odd-boundary", 1, true) and tag:find("duplicate-parameter", 1, true), tag)
    assert(table.concat(result.log, "\n"):find("ambiguous: ", 1, true))
end

function test_each_kind_is_told_once()
    local result = run{ eml = mail("Content-Type: multipart/mixed; boundary=b",
        "--b\nContent-Transfer-Encoding: x\n\nx\n--b\nContent-Transfer-Encoding: y\n\nx\n--b--\n") }
    assert(tag_of(result) == "unknown-encoding", tag_of(result))
end

function test_other_mail_is_not_marked()
    assert(#run{ eml = mail("Content-Type: text/plain", "hello\n") }.actions == 0)
    assert(#run{ eml = mail("Content-Type: text/plain", string.rep("x", 2000)) }.actions == 0, "harmless")
end

function test_a_forged_mark_is_removed()
    local result = run{ eml = mail("X-Ambiguous: no, all is well", "x\n") }
    assert(#result.actions == 1 and result.actions[1].action == "delete_header", result.actions[1] and result.actions[1].action)
end

function test_settings()
    assert(tag_of(run{ eml = ambiguous, config = { ambiguous_header = "X-Odd" } }, "X-Odd"))
    assert(not tag_of(run{ eml = ambiguous, config = { ambiguous_allow = "odd-boundary duplicate-parameter" } }))
end
