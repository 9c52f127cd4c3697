local function mail(fields)
    return "Subject: x\nMIME-Version: 1.0\nContent-Type: multipart/mixed; boundary=b\n\n--b\nContent-Type: text/plain\n\nsee below\n"
        .. "--b\n" .. fields .. "\n\ncontent\n--b--\n"
end

function test_programs_are_refused()
    for _, name in ipairs{ "setup.exe", "SETUP.EXE", "invoice.pdf.scr", "x.js.", "a.lnk ", "photo.jpg.{00021401-0000-0000-c000-000000000046}" } do
        local result = run{ eml = mail('Content-Type: application/octet-stream; name="' .. name .. '"') }
        assert(result.verdict == "reject" and result.reply.code == 550, name)
    end
end

function test_every_name_counts()
    local result = run{ eml = mail('Content-Type: application/pdf; name="invoice.scr"\nContent-Disposition: attachment; filename="invoice.pdf"') }
    assert(result.verdict == "reject", result.verdict)
end

function test_documents_pass()
    assert(run{ eml = mail("Content-Type: text/plain\nContent-Description: see example.com") }.verdict == "continue")
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

-- tool.exe, signed with S/MIME
local SIGNED = "MIAGCSqGSIb3DQEHAqCAMIACAQExDTALBglghkgBZQMEAgEwgAYJKoZIhvcNAQcBoIAkgASCAZ1Db250ZW50LVR5cGU6IG11bHRpcGFy" ..
    "dC9taXhlZDsgYm91bmRhcnk9Ii0tLS0tLS0tLS0tLWlubmVyMDAwMSINCg0KLS0tLS0tLS0tLS0tLS1pbm5lcjAwMDENCkNvbnRlbnQt" ..
    "VHlwZTogdGV4dC9wbGFpbjsgY2hhcnNldD1VVEYtOA0KDQpUaGUgdG9vbCB0aGF0IHlvdSBhc2tlZCBmb3IuDQoNCi0tLS0tLS0tLS0t" ..
    "LS0taW5uZXIwMDAxDQpDb250ZW50LVR5cGU6IGFwcGxpY2F0aW9uL3gtbXNkb3dubG9hZDsgbmFtZT0idG9vbC5leGUiDQpDb250ZW50" ..
    "LURpc3Bvc2l0aW9uOiBhdHRhY2htZW50OyBmaWxlbmFtZT0idG9vbC5leGUiDQpDb250ZW50LVRyYW5zZmVyLUVuY29kaW5nOiBiYXNl" ..
    "NjQNCg0KVFZxUUFBTUFBQUFFQUFBQS8vOEFBTGdBQUFBQUFBQUFRQUFBQUFBQUFBQT0NCi0tLS0tLS0tLS0tLS0taW5uZXIwMDAxLS0N" ..
    "CgAAAAAAADGCAl0wggJZAgEBME0wNTETMBEGA1UEAwwKQW5uIFNlbmRlcjEeMBwGCSqGSIb3DQEJARYPYW5uQGV4YW1wbGUub3JnAhRQ" ..
    "CSCk/mFj91yRb+ziUU6pDXnknzALBglghkgBZQMEAgGggeQwGAYJKoZIhvcNAQkDMQsGCSqGSIb3DQEHATAcBgkqhkiG9w0BCQUxDxcN" ..
    "MjYxMTIyMTMwNDQwWjAvBgkqhkiG9w0BCQQxIgQgB/OmJJ4fVJL2ZBQgdjzQWRSyVUQWhWlnX8NFsIW7b/wweQYJKoZIhvcNAQkPMWww" ..
    "ajALBglghkgBZQMEASowCwYJYIZIAWUDBAEWMAsGCWCGSAFlAwQBAjAKBggqhkiG9w0DBzAOBggqhkiG9w0DAgICAIAwDQYIKoZIhvcN" ..
    "AwICAUAwBwYFKw4DAgcwDQYIKoZIhvcNAwICASgwDQYJKoZIhvcNAQEBBQAEggEAG+w+bqJ03dYXNF9uZDayrgUixpXUPGsBR2+KB//M" ..
    "B4tippis1u4cGNSRdh48fFR+QllXGf6LJnnaIVLFdVBAOENgVXMqH3/JD8OBEJYp0edlC2Xa3O/daM675vbmDIo1lhUQaOKBbb+cFbCT" ..
    "xZLlc/4K9NlklJI/ApwjXYluch4zUKGaT+Qy7s8hf7NeR51gYJatpsZEDhwDGiNFdAcGSOcRr6HZ02M6a3rzDl74//SUgGmvxw5PcLX+" ..
    "bUZRUI/LYIbfnrqgoOmuyriGaMU+ERKSZKuWhv7rhQz7H133hTWEt0MR4zsQfMI82B2nmbySfELDv/+U4iv03UYYQfZjrgAAAAAAAA=="

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
    assert(run{ eml = packed("smime.p7m", SIGNED) }.verdict == "reject")
    assert(run{ eml = packed("x.dat", SIGNED) }.verdict == "reject")
    local text = "Subject: x\n\nhello\nbegin 644 run.exe\n#35I0\n`\nend\n"
    assert(run{ eml = text }.verdict == "reject")
    assert(run{ eml = (text:gsub("run.exe", "run.txt")) }.verdict == "continue")
end

local function without_extension(fields, content)
    return run{ eml = mail(fields .. "\nContent-Transfer-Encoding: quoted-printable\n\n" .. content .. "\n--b\n") }.verdict
end

function test_programs_without_an_extension()
    local octets = "Content-Type: application/octet-stream"
    local contents = {
        "MZ=90=00=03=00", "=7FELF=02=01=01=00", "=CF=FA=ED=FE=07=00=00=01=03=00=00=00=02=00=00=00" .. ("=00"):rep(20),
        "=CA=FE=BA=BE=00=00=00=34", "L=00=00=00=01=14=02=00=00", "=D0=CF=11=E0=A1=B1=1A=E1..=84=10=0C=00=00=00=00=00=C0=00=00=00=00=00=00=46",
        "@echo off=0D=0Adel c:=0D=0A",
    }
    for _, content in ipairs(contents) do
        assert(without_extension(octets, content) == "reject", content)
        assert(without_extension(octets .. "; name=tool", content) == "reject", content)
        assert(without_extension(octets .. "; name=tool.dat", content) == "continue", content)
    end
    assert(without_extension("Content-Type: text/plain\nContent-Disposition: attachment", contents[1]) == "reject")
    assert(without_extension("Content-Type: image/png\nContent-Disposition: inline", contents[1]) == "reject")
end

function test_other_content_without_an_extension()
    local octets = "Content-Type: application/octet-stream"
    for _, content in ipairs{ "%PDF-1.7", "=D0=CF=11=E0=A1=B1=1A=E1....", "=FF=D8=FF=E0", "plain text", "" } do
        assert(without_extension(octets, content) == "continue", content)
    end
    assert(without_extension("Content-Type: text/plain", "MZ is how a program begins.") == "continue")
end
