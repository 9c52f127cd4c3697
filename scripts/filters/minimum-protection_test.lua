local function multipart(kind, ...)
    local text = "Content-Type: multipart/" .. kind .. "; boundary=" .. kind .. "\n\n"
    for _, part in ipairs{ ... } do
        text = text .. "--" .. kind .. "\n" .. part .. "\n"
    end
    return text .. "--" .. kind .. "--\n"
end

local TEXT = "Content-Type: text/plain\n\nsee below\n"
local HEAD = "From: ann@example.org\nSubject: x\nMIME-Version: 1.0\n"
local VIRUS = "X5O!P%@AP[4\\PZX54(P^)7CC)7}$" .. "EICAR-STANDARD-ANTIVIRUS-TEST-FILE!$H+H*"
local SPAM = "XJS*C4JDBQADN1.NSBN3*2IDNEN*" .. "GTUBE-STANDARD-ANTI-UBE-TEST-EMAIL*C.34X"

local function mail(...)
    return HEAD .. multipart("mixed", TEXT, ...)
end

local function file(name)
    return 'Content-Type: application/octet-stream; name="' .. name .. '"\nContent-Disposition: attachment\n\ncontent of it\n'
end

local function body_of(result)
    for _, action in ipairs(result.actions) do
        if action.action == "replace_body" then return action.body end
    end
end

-- 1
function test_suspicious_characters_in_the_header()
    for _, eml in ipairs{ "Subject: a\0b\n\nx\n", "Subject: a\rb\r\n\r\nx\r\n" } do
        assert(run{ eml = eml }.verdict == "discard")
    end
    assert(run{ eml = "Subject: a\n\nb\0c\n" }.verdict == "continue")
end

-- 2
function test_viruses()
    local infected, clean = HEAD .. "Content-Type: text/plain\n\n" .. VIRUS .. "\n", HEAD .. TEXT
    local settings = { virus_scanner = "checks.eicar" }
    local result = run{ eml = infected, config = settings }
    assert(result.verdict == "discard" and result.log[1]:find("discarded: virus EICAR"), result.error)
    assert(run{ eml = clean, config = settings }.verdict == "continue")
    assert(run{ eml = infected }.verdict == "continue")
end

-- 3
function test_pieces_and_pointers_are_refused()
    local piece = HEAD .. 'Content-Type: message/partial; id="a@b"; number=1; total=2\n\nFrom: x\n\nx\n'
    local pointer = "Content-Type: message/external-body; access-type=URL; URL=\"http://example.com/x\"\n\nContent-Type: text/plain\n\n"
    assert(run{ eml = piece }.verdict == "reject")
    assert(run{ eml = mail(pointer) }.verdict == "reject")
    assert(run{ eml = mail(pointer), config = { refuse_external_body = false } }.verdict == "continue")
end

function test_mail_over_a_limit_is_refused()
    local parts = {}
    for i = 1, 1000 do parts[i] = "\n\nx" end
    parts[#parts + 1] = file("evil.exe")
    local fields = ("X: y\n"):rep(10001)
    local deep, inside = "", file("evil.exe")
    for i = 1, 60 do deep = deep .. "Content-Type: multipart/mixed; boundary=x" .. i .. "y\n\n--x" .. i .. "y\n" end
    local long = 'Content-Type: application/octet-stream\nContent-Disposition: attachment; x=' .. ("a"):rep(300000) .. ";\n name=evil.exe\n\nx\n"
    for name, eml in pairs{ parts = mail(table.unpack(parts)), fields = mail(fields .. inside), deep = HEAD .. deep .. inside, long = mail(long) } do
        local result = run{ eml = eml }
        assert(result.verdict == "reject" and result.reply.code == 550, name .. ": " .. result.verdict)
    end
end

-- 4
function test_a_crowd_of_names_hides_none()
    local names = {}
    for i = 1, 70 do names[i] = "filename=a" .. i .. ".txt" end
    local crowd = "Content-Type: application/pdf\nContent-Disposition: attachment; " .. table.concat(names, ";\n ") .. ";\n filename=evil.exe\n\nx\n"
    local body = body_of(run{ eml = mail(crowd) })
    assert(body and not body:find("evil.exe", 1, true), body)
end

function test_dangerous_names_are_dropped()
    for _, name in ipairs{ "setup.exe", "x.PIF", "y.vbs. ", "picture.jpg.{00021401-0000-0000-c000-000000000046}", "macro.wsf" } do
        local result = run{ eml = mail(file(name)) }
        local body = body_of(result)
        assert(result.verdict == "continue" and body, result.error)
        assert(not body:find("content of it") and body:find("see below") and body:find("can do harm"), name)
    end
end

function test_documents_stay()
    local result = run{ eml = mail(file("report.pdf"), file("photo.jpeg"), file("exe")) }
    assert(result.verdict == "continue" and #result.actions == 0, result.error)
end

function test_a_mail_that_is_none_is_dropped()
    assert(body_of(run{ eml = mail(file("letter.eml")) }):find("is called a mail and is none"))
    local letter = 'Content-Type: message/rfc822; name="letter.eml"\n\nSubject: inner\n\nx\n'
    assert(#run{ eml = mail(letter) }.actions == 0)
end

function test_a_group_is_dropped_as_a_whole()
    local group = multipart("related", file("inner.exe"), TEXT):gsub("boundary", 'name="group.scr"; boundary', 1)
    local result = run{ eml = mail(group) }
    local _, n = body_of(result):gsub("can do harm", "")
    assert(n == 1 and not body_of(result):find("content of it"))
end

-- A zip with setup.exe in it.
local ZIP = "UEsDBBQAAAAAAABQJVxdm7CPAgAAAAIAAAAJAAAAc2V0dXAuZXhlTVpQSwECFAMUAAAAAAAAUCVcXZuwjwIAAAACAAAACQAAAAAAAAAAAAAAgAEAAAAAc2V0dXAu"
    .. "ZXhlUEsFBgAAAAABAAEANwAAACkAAAAAAA=="

local function archive(content)
    return 'Content-Type: application/zip; name="files.zip"\nContent-Transfer-Encoding: base64\nContent-Disposition: attachment\n\n' .. content .. "\n"
end

function test_names_in_archives_count()
    local result = run{ eml = mail(archive(ZIP)) }
    assert(body_of(result):find("files.zip") and not body_of(result):find("UEsDB"), result.error)
    assert(result.log[1]:find("dropped: files.zip"), result.log[1])
end

function test_archives_that_cannot_be_read()
    local half = archive(ZIP:sub(1, 40))
    assert(body_of(run{ eml = mail(half) }):find("files.zip"))
    assert(#run{ eml = mail(half), config = { drop_unreadable_archives = false } }.actions == 0)
end

function test_the_list_is_a_setting()
    local settings = { dangerous_extensions = "zoo, arc" }
    assert(body_of(run{ eml = mail(file("x.zoo")), config = settings }))
    assert(not body_of(run{ eml = mail(file("x.exe")), config = settings }))
end

-- 5
function test_spam()
    local function fields(eml, settings)
        settings.spam_checker = "checks.gtube"
        local result = run{ eml = eml, config = settings }
        assert(result.verdict == "continue", result.error)
        local found = {}
        for _, action in ipairs(result.actions) do
            found[#found + 1] = action.action
            if action.name == "X-Spam-Score" and action.value then found[#found] = action.value end
        end
        return found, result
    end
    local spam, ham = HEAD .. "Content-Type: text/plain\n\n" .. SPAM .. "\n", "X-Spam-Score: 0\n" .. HEAD .. TEXT
    local found, result = fields(spam, {})
    assert(table.concat(found, " "):find("1000.0 (" .. ("*"):rep(40) .. ") GTUBE", 1, true), table.concat(found, " "))
    assert(body_of(result):find("SpamReport.txt"))
    assert(table.concat(fields(ham, {}), " ") == "delete_header")
    assert(#fields(spam, { spam_max_size = 10 }) == 0)
end
