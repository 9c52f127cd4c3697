local function mail(fields)
    return "Subject: x\nMIME-Version: 1.0\nContent-Type: multipart/mixed; boundary=b\n\n--b\nContent-Type: text/plain\n\nsee below\n"
        .. "--b\n" .. fields .. "\n\ncontent\n--b--\n"
end

function test_programs_are_refused()
    for _, name in ipairs{ "setup.exe", "SETUP.EXE", "invoice.pdf.scr", "x.js.", "a.lnk " } do
        local result = run{ eml = mail('Content-Type: application/octet-stream; name="' .. name .. '"') }
        assert(result.verdict == "reject" and result.reply.code == 550, name)
    end
end

function test_every_name_counts()
    local result = run{ eml = mail('Content-Type: application/pdf; name="invoice.scr"\nContent-Disposition: attachment; filename="invoice.pdf"') }
    assert(result.verdict == "reject", result.verdict)
end

function test_documents_pass()
    for _, name in ipairs{ "report.pdf", "exe", "exe.txt", "photo.jpeg" } do
        assert(run{ eml = mail('Content-Type: application/octet-stream; name="' .. name .. '"') }.verdict == "continue", name)
    end
end
