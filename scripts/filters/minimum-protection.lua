-- minimum-protection.lua: the least that a mail server in front of office computers should do.
--
--   1. Mail with NUL bytes or stray carriage returns in its header is thrown away: no honest program writes it.
--   2. Mail with a virus is thrown away; mail that the scanner could not look at is put off (see virus_scanner).
--   3. Pieces of mail (message/partial) and pointers to content that lies elsewhere (message/external-body) are refused:
--      what the reader will see is not in the mail. So is mail over a limit of the worker: what stands behind it was not seen.
--   4. Attachments with the name of a program, also within archives, are replaced by a note. So are those called .eml that
--      are no mail. When it is a whole group of parts, the administrator is told.
--   5. Spam gets a score in its header and a report as a further part (see spam_checker).
--
-- Settings, in [filter]:
--   dangerous_extensions = …        extensions of names that are not let in; see below
--   refuse_external_body = yes
--   drop_unreadable_archives = yes  archives that cannot be looked into go, too
--   virus_scanner =                 a module beside the filter that returns a function: it is given msg, and returns nil
--                                   (clean), the name of a virus, or false and why (it could not look)
--   spam_checker =                  the same, for spam: score, limit, names of tests, report; nothing when it could not look
--   spam_max_size = 524288          larger mail is not checked for spam

local log = require "postern.log"

local function setting(name, default)
    local value = config[name]
    if value == nil then
        value = default
    end
    return value
end

-- What Windows, or an office program on it, runs on a double click; and what hides such files.
local extensions = {}
for extension in setting("dangerous_extensions", [[
    ade adp app appref-ms asd asf asx bas bat chm cmd com cpl crt diagcab dll exe fxp gadget hlp hta hto inf ini ins isp jar
    jnlp js jse lib library-ms lnk mdb mde msc msh msi msix msp mst ocx pcd pif prg ps1 ps2 psc1 reg scf scr sct settingcontent-ms
    sh shb shs sys url vb vbe vbs vcs vxd wmd wms wmz wsc wsf wsh xll]]):gmatch("[^%s,]+") do
    extensions[#extensions + 1] = extension
end

local look_inside = { archives = true, unreadable = setting("drop_unreadable_archives", true) }
local refuse_external_body = setting("refuse_external_body", true)
local scan_for_virus = config.virus_scanner and require(config.virus_scanner)
local check_for_spam = config.spam_checker and require(config.spam_checker)
local spam_max_size = config.spam_max_size or 512 * 1024

-- ---- 1, 2: the whole mail ----

local function has_suspicious_header(msg)
    local header = msg:raw_headers()
    return header:find("\0", 1, true) ~= nil or header:find("\r[^\n]") ~= nil or header:sub(-1) == "\r"
end

-- The verdict, if the scanner has one.
local function judge_virus(msg)
    local virus, why = scan_for_virus(msg)
    if virus == false then
        log.warn("the virus scanner failed: %s", why)
        return tempfail("We cannot look for viruses at the moment: please try again later")
    elseif virus then
        log.info("discarded: virus %s", virus)
        msg:log("virus", virus)
        return discard()
    end
end

-- ---- 3, 4: the parts ----

-- A name may also end in the number of a class: "picture.jpg.{00021401-0000-0000-c000-000000000046}".
local function has_dangerous_name(part)
    return part:has_extension(extensions, look_inside) or part:name_matches("\\.\\{[^}]+\\}[. ]*$", look_inside)
end

local function shown_name(part)
    local name = part.filename or part.filenames[1] or "without a name"
    return (name:gsub("%c", " "))
end

-- Why a part goes, or nil.
local function fault_of(part)
    if has_dangerous_name(part) then
        return "can do harm when it is opened"
    elseif part:has_extension("eml") and part.type ~= "message/rfc822" then
        return "is called a mail and is none"
    end
end

local function drop(msg, part, fault)
    local name = shown_name(part)
    log.info("dropped: %s (%s), it %s", name, part.type, fault)
    part:drop("An attachment was taken out of this mail, since it " .. fault .. ": " .. name
        .. "\nIf you need it, ask the sender to pass it on in another way.\n")
    if part.is_container then
        msg:notify_admin{ subject = "A group of attachments was dropped",
            text = "From <" .. msg.sender .. ">, " .. msg.uid .. ": " .. name .. " (" .. part.type .. ") " .. fault .. ".\n" }
    end
end

-- Defects of mail that was not read to its end; honest mail has none of them.
local over_limit = { "too-many-parts", "too-deep", "too-many-headers", "header-too-long", "too-much-decoded" }
for _, kind in ipairs(over_limit) do
    over_limit[kind] = true
end

local function judge_limits(msg)
    for _, defect in ipairs(msg.defects) do
        if over_limit[defect.kind] then
            log.info("refused: %s", defect.kind)
            return reject("This mail has more parts, or larger ones, than we can look through: please send it in another form")
        end
    end
end

-- The verdict, if a part decides about the whole mail.
local function judge_parts(msg)
    local gone                             -- the path of the group that was dropped last, with a dot
    for part in msg:walk() do
        if part.type == "message/partial" then
            return reject("We take no pieces of mail (message/partial): please send it as a whole")
        elseif part.type == "message/external-body" and refuse_external_body then
            return reject("We take no pointers to content elsewhere (message/external-body): please attach it")
        elseif not (gone and part.path:sub(1, #gone) == gone) then
            local fault = fault_of(part)
            if fault then
                drop(msg, part, fault)
                gone = part.path .. "."
            end
        end
    end
end

-- ---- 5: spam ----

local function mark_spam(msg)
    if not check_for_spam or msg.size > spam_max_size then
        return
    end
    local score, limit, names, report = check_for_spam(msg)
    if msg:header("X-Spam-Score") then
        msg:delete_header("X-Spam-Score")  -- whoever set it, it was not us
    end
    if score and score >= limit then
        local stars = ("*"):rep(math.min(math.floor(score), 40))
        msg:add_header("X-Spam-Score", string.format("%.1f (%s) %s", score, stars, names or ""))
        msg:log("spam", string.format("%.1f", score))
        if report then
            msg:add_part{ type = "text/plain", body = report .. "\n", filename = "SpamReport.txt", inline = true }
        end
    end
end

function filter_message(msg)
    if has_suspicious_header(msg) then
        log.info("discarded: suspicious characters in the header")
        return discard()
    end
    local verdict = scan_for_virus and judge_virus(msg) or judge_parts(msg) or judge_limits(msg)
    if verdict then
        return verdict
    end
    mark_spam(msg)
end
