local function mail(header, body)
    return "From: a@example.org\nSubject: x\nMIME-Version: 1.0\n" .. header .. "\n\n" .. body
end

local two_boundaries = mail("Content-Type: multipart/mixed; boundary=b; boundary=a",
    "--b\nContent-Disposition: attachment; filename=x.exe\n\nx\n--b--\n")
local harmless = mail("Content-Type: text/plain", string.rep("x", 2000) .. "\n")

local function log_of(result)
    return table.concat(result.log, "\n")
end

function test_ambiguous_mail_is_refused_and_told()
    local result = run{ eml = two_boundaries }
    assert(result.verdict == "reject" and result.reply.code == 550, result.verdict)
    assert(result.reply.text:find("odd-boundary", 1, true), result.reply.text)
    assert(log_of(result):find("refused: .*odd%-boundary"), log_of(result))
    assert(log_of(result):find("defects=.*duplicate%-parameter"), log_of(result))
end

function test_more_tricks()
    for name, eml in pairs{
        ["two encodings"] = mail("Content-Transfer-Encoding: 7bit\nContent-Transfer-Encoding: base64", "aGVsbG8=\n"),
        ["two types"] = mail("Content-Type: text/plain\nContent-Type: application/zip", "x\n"),
        ["two names"] = mail('Content-Type: application/pdf; name="a.scr"\nContent-Disposition: attachment; filename="a.pdf"', "x\n"),
        ["a blank before the colon"] = mail("Content-Type : text/plain", "x\n"),
        ["no boundary"] = mail("Content-Type: multipart/mixed", "--b\n\nx\n--b--\n"),
        ["parts after the end"] = mail("Content-Type: multipart/mixed; boundary=b", "--b\n\nx\n--b--\n--b\n\ny\n--b--\n"),
        ["padding in the middle"] = mail("Content-Transfer-Encoding: base64", "aGVsbG8=\naGVsbG8=\n"),
        ["a direction that changes"] = mail('Content-Disposition: attachment; filename="a\u{202e}fdp.exe"', "x\n"),
    } do
        assert(run{ eml = eml }.verdict == "reject", name)
    end
end

function test_honest_mail_passes()
    for name, eml in pairs{
        ["plain"] = mail("Content-Type: text/plain", "hello\n"),
        ["a multipart"] = mail('Content-Type: multipart/mixed; boundary="=_b"', "--=_b\n\nx\n--=_b\nContent-Disposition: attachment; filename=a.pdf\n\nx\n--=_b--\n"),
        ["an encoded name"] = mail('Content-Disposition: attachment; filename="=?utf-8?Q?caf=C3=A9=2Epdf?="', "x\n"),
        ["harmless"] = harmless,
    } do
        assert(run{ eml = eml }.verdict == "continue", name)
    end
end

function test_kinds_are_let_through()
    local settings = { strict_allow = "odd-boundary, duplicate-parameter" }
    assert(run{ eml = two_boundaries, config = settings }.verdict == "continue")
    assert(run{ eml = two_boundaries, config = { strict_allow = "odd-boundary" } }.verdict == "reject")
end

function test_harmless_kinds_are_refused_if_asked()
    assert(run{ eml = harmless, config = { strict_refuse = "long-line" } }.verdict == "reject")
end

function test_own_users_and_known_senders_are_left_alone()
    assert(run{ eml = two_boundaries, ip = "local" }.verdict == "continue")
    assert(run{ eml = two_boundaries, ip = "local", config = { strict_outgoing = "yes" } }.verdict == "reject")
    assert(run{ eml = two_boundaries, sender = "bob@example.org", config = { strict_senders = "@example.org" } }.verdict == "continue")
end
