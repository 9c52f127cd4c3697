local function mail(name)
    return "From: ann@example.org\nSubject: x\nMIME-Version: 1.0\nContent-Type: multipart/mixed; boundary=b\n\n--b\nContent-Type: text/plain\n\n"
        .. "see below\n--b\nContent-Type: application/octet-stream\nContent-Disposition: attachment; filename=\"" .. name .. "\"\n\ncontent\n--b--\n"
end

function test_names_that_pretend()
    for name, kind in pairs{ ["invoice.pdf.exe"] = "double extension", ["Photo.JPG .scr."] = "double extension",
        ["a.doc_.js"] = "double extension", ["minutes            .exe"] = "extension pushed out of sight",
        ["invoice\u{202e}fdp.exe"] = "written backwards", ["x.{00021401-0000-0000-C000-000000000046}"] = "class number" } do
        local result = run{ eml = mail(name) }
        assert(result.verdict == "discard", name .. ": " .. (result.error or result.verdict))
        assert(result.log[2] == "trap=store: an attachment is named like malware (" .. kind .. ")", result.log[2])
    end
end

function test_honest_names()
    for _, name in ipairs{ "setup.exe", "report.pdf", "archive.tar.gz", "v1.2.pdf", "photo.jpg", "my.document.docx" } do
        local result = run{ eml = mail(name) }
        assert(result.verdict == "continue" and #result.actions == 0, name)
    end
end

function test_names_of_our_own()
    local settings = { virus_names = "^order[0-9]{6}\\.iso$" }
    assert(run{ eml = mail("Order123456.iso"), config = settings }.verdict == "discard")
    assert(run{ eml = mail("order1.iso"), config = settings }.verdict == "continue")
end

function test_names_in_archives()
    -- A zip with invoice.pdf.exe in it.
    local zip = "UEsDBBQAAAAAAABQJVxdm7CPAgAAAAIAAAAPAAAAaW52b2ljZS5wZGYuZXhlTVpQSwECFAMUAAAAAAAAUCVcXZuwjwIAAAACAAAADwAAAAAAAAAAAAAAgAEAAAAA"
        .. "aW52b2ljZS5wZGYuZXhlUEsFBgAAAAABAAEAPQAAAC8AAAAAAA=="
    local head = "Subject: x\nMIME-Version: 1.0\nContent-Type: application/zip; name=files.zip\nContent-Transfer-Encoding: base64\n\n"
    assert(run{ eml = head .. zip .. "\n" }.verdict == "discard")
    assert(run{ eml = head .. zip .. "\n", config = { virus_archives = false } }.verdict == "continue")
    assert(run{ eml = head .. zip:sub(1, 40) .. "\n" }.verdict == "continue")
end
