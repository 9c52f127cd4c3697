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

local function packed(name, base64)
    return mail('Content-Type: application/octet-stream; name="' .. name .. '"\nContent-Transfer-Encoding: base64\n\n' .. base64 .. "\n--b\n")
end

-- doc/run.exe
local ZIP = "UEsDBBQAAAAAAAAAIQBdm7CPAgAAAAIAAAALAAAAZG9jL3J1bi5leGVNWlBLAQIUAxQAAAAAAAAAIQBdm7CPAgAAAAIAAAALAAAA" ..
    "AAAAAAAAAAAAAAAAAABkb2MvcnVuLmV4ZVBLBQYAAAAAAQABADkAAAArAAAAAAA="
-- run.scr in b.zip
local ZIP_IN_ZIP = "UEsDBBQAAAAAAAAAIQDhGm7vcgAAAHIAAAAFAAAAYi56aXBQSwMEFAAAAAAAAAAhAF2bsI8CAAAAAgAAAAcAAABydW4uc2NyTVpQ" ..
    "SwECFAMUAAAAAAAAACEAXZuwjwIAAAACAAAABwAAAAAAAAAAAAAAAAAAAAAAcnVuLnNjclBLBQYAAAAAAQABADUAAAAnAAAAAABQ" ..
    "SwECFAMUAAAAAAAAACEA4Rpu73IAAAByAAAABQAAAAAAAAAAAAAAAAAAAAAAYi56aXBQSwUGAAAAAAEAAQAzAAAAlQAAAAAA"
-- doc/report.txt
local HARMLESS = "UEsDBBQAAAAAAAAAIQCsKpPYAgAAAAIAAAAOAAAAZG9jL3JlcG9ydC50eHRoaVBLAQIUAxQAAAAAAAAAIQCsKpPYAgAAAAIAAAAO" ..
    "AAAAAAAAAAAAAAAAAAAAAABkb2MvcmVwb3J0LnR4dFBLBQYAAAAAAQABADwAAAAuAAAAAAA="
-- seven zips, one in the other
local NESTED = "UEsDBBQAAAAAAAAAIQA6BevDgQIAAIECAAAFAAAANS56aXBQSwMEFAAAAAAAAAAhAIKHUIkVAgAAFQIAAAUAAAA0LnppcFBLAwQU" ..
    "AAAAAAAAACEArOpWRqkBAACpAQAABQAAADMuemlwUEsDBBQAAAAAAAAAIQDPKQrbPQEAAD0BAAAFAAAAMi56aXBQSwMEFAAAAAAA" ..
    "AAAhAM58IqrRAAAA0QAAAAUAAAAxLnppcFBLAwQUAAAAAAAAACEANvfFMWUAAABlAAAABQAAADAuemlwUEsDBBQAAAAAAAAAIQAV" ..
    "Jtv7AQAAAAEAAAABAAAAeHlQSwECFAMUAAAAAAAAACEAFSbb+wEAAAABAAAAAQAAAAAAAAAAAAAAAAAAAAAAeFBLBQYAAAAAAQAB" ..
    "AC8AAAAgAAAAAABQSwECFAMUAAAAAAAAACEANvfFMWUAAABlAAAABQAAAAAAAAAAAAAAAAAAAAAAMC56aXBQSwUGAAAAAAEAAQAz" ..
    "AAAAiAAAAAAAUEsBAhQDFAAAAAAAAAAhAM58IqrRAAAA0QAAAAUAAAAAAAAAAAAAAAAAAAAAADEuemlwUEsFBgAAAAABAAEAMwAA" ..
    "APQAAAAAAFBLAQIUAxQAAAAAAAAAIQDPKQrbPQEAAD0BAAAFAAAAAAAAAAAAAAAAAAAAAAAyLnppcFBLBQYAAAAAAQABADMAAABg" ..
    "AQAAAABQSwECFAMUAAAAAAAAACEArOpWRqkBAACpAQAABQAAAAAAAAAAAAAAAAAAAAAAMy56aXBQSwUGAAAAAAEAAQAzAAAAzAEA" ..
    "AAAAUEsBAhQDFAAAAAAAAAAhAIKHUIkVAgAAFQIAAAUAAAAAAAAAAAAAAAAAAAAAADQuemlwUEsFBgAAAAABAAEAMwAAADgCAAAA" ..
    "AFBLAQIUAxQAAAAAAAAAIQA6BevDgQIAAIECAAAFAAAAAAAAAAAAAAAAAAAAAAA1LnppcFBLBQYAAAAAAQABADMAAACkAgAAAAA="
-- RUN.EXE
local WINMAIL = "eJ8+IgEAAQaQCAAEAAAAAAABAAEAAQeQBgAIAAAA5AQAAAAAAADoAAEEgAEABgAAAGhlbGxvABQCAgKQBgAOAAAAAAAAAAAAAAAA" ..
    "AAAAAAAAAAIQgAEACAAAAFJVTi5FWEUABQICD4AGAAIAAABNWqcA"

function test_archives_are_looked_into()
    assert(run{ eml = packed("a.zip", ZIP) }.verdict == "reject")
    assert(run{ eml = packed("a.jpg", ZIP) }.verdict == "reject")
    assert(run{ eml = packed("a.zip", ZIP_IN_ZIP) }.verdict == "reject")
    local result = run{ eml = packed("a.zip", HARMLESS) }
    assert(result.verdict == "continue", result.verdict)
end

function test_archives_that_cannot_be_listed()
    for _, name in ipairs{ "a.zip", "a.rar", "a.7z" } do
        local result = run{ eml = packed(name, "aGVsbG8=") }
        assert(result.verdict == "reject" and result.log[1]:find("cannot be listed"), name)
    end
    local result = run{ eml = packed("a.zip", NESTED) }
    assert(result.verdict == "reject", result.verdict)
end

function test_carriers()
    assert(run{ eml = packed("winmail.dat", WINMAIL) }.verdict == "reject")
    local text = "Subject: x\n\nhello\nbegin 644 run.exe\n#35I0\n`\nend\n"
    assert(run{ eml = text }.verdict == "reject")
    assert(run{ eml = (text:gsub("run.exe", "run.txt")) }.verdict == "continue")
end
