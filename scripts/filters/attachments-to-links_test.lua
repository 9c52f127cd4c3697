-- Nothing is written by tests: the links are those of a rehearsal.

local SETTINGS = { links_over = 1000, links_directory = "/nowhere/links", links_base_url = "https://files.example.org/mail" }

local function mail(fields, body, top)
    return "From: ann@example.org\nTo: bob@example.net\nSubject: plans\nMIME-Version: 1.0\n"
        .. (top or "Content-Type: multipart/mixed; boundary=b") .. "\n\n--b\nContent-Type: text/plain\n\nsee the plan\n--b\n"
        .. fields .. "\n\n" .. body .. "\n--b--\n"
end

local PDF = 'Content-Type: application/pdf\nContent-Disposition: attachment; filename="plan.pdf"'
local LARGE, SMALL = ("x"):rep(1500), ("x"):rep(100)

local function with(settings)
    local all = {}
    for key, value in pairs(SETTINGS) do all[key] = value end
    for key, value in pairs(settings or {}) do all[key] = value end
    return all
end

local function body_of(words)
    words.config = with(words.config)
    local result = run(words)
    assert(result.verdict == "continue", result.error)
    for _, action in ipairs(result.actions) do
        if action.action == "replace_body" then
            return action.body, result
        end
    end
    return nil, result
end

function test_a_large_attachment_becomes_a_link()
    local body, result = body_of{ eml = mail(PDF, LARGE) }
    assert(body and body:find("plan.pdf") and body:find("1.5 kB"), body)
    assert(body:find("https://files%.example%.org/mail/%x%x/%x+%.bin"), body)
    assert(not body:find("xxxx") and body:find("see the plan"), body)
    assert(result.log[1]:find("plan.pdf %(1500 bytes%) is now behind https://"), result.log[1])
end

function test_small_ones_and_text_stay()
    assert(body_of{ eml = mail(PDF, SMALL) } == nil)
    assert(body_of{ eml = mail("Content-Type: text/plain", LARGE) } == nil)
    local image = 'Content-Type: image/png; name="logo.png"\nContent-ID: <logo>'
    assert(body_of{ eml = mail(image, LARGE) } == nil)
end

function test_signed_mail_stays_unless_asked_for()
    local top = "Content-Type: multipart/signed; boundary=b; protocol=application/pgp-signature"
    assert(body_of{ eml = mail(PDF, LARGE, top) } == nil)
    assert(body_of{ eml = mail(PDF, LARGE, top), config = { links_signed = true } })
end

function test_one_direction()
    local settings = { links_direction = "out" }
    assert(body_of{ eml = mail(PDF, LARGE), ip = "198.51.100.7", config = settings } == nil)
    assert(body_of{ eml = mail(PDF, LARGE), macros = { auth_type = "PLAIN", auth_authen = "bob" }, config = settings })
end

function test_a_text_of_ones_own()
    local body = body_of{ eml = mail(PDF, LARGE), config = { links_text = "Hier: ${name} <${url}>" } }
    assert(body:find("Hier: plan.pdf <https://files.example.org/mail/"), body)
end

function test_wrong_settings_do_not_load()
    local result = run{ eml = mail(PDF, SMALL), config = { links_direction = "up" } }
    assert(result.verdict == "error" and result.error:find("in, out or both"), result.error)
end
