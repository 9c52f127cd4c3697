-- block-executables.lua: refuses mail with attachments that a mail reader would run.
--
-- What counts is every name that some mail reader could derive from a part, not only the one that most would show: a file
-- called "invoice.pdf" for one program may be "invoice.exe" for another. Archives are looked into, and archives in them, and
-- what winmail.dat, uuencode, yEnc and smime.p7m carry are parts as any other. An attachment whose name has no extension, or
-- that has none at all, is refused when its content is a program.

local log = require "postern.log"

-- Names of programs and scripts that Windows, macOS or an office suite starts on a double click, and disk images that hide
-- them from scanners.
local forbidden = {
    "ade", "adp", "appref-ms", "bat", "chm", "cmd", "com", "cpl", "diagcab", "dll", "exe", "hta", "img", "ins",
    "iso", "isp", "jar", "jnlp", "js", "jse", "lib", "lnk", "mde", "msc", "msi", "msix", "msp", "mst", "pif", "ps1",
    "reg", "scf", "scr", "sct", "shb", "sys", "url", "vb", "vbe", "vbs", "vhd", "vhdx", "vxd", "wsc", "wsf", "wsh",
    "xll",
}

-- Mail that two programs read in two ways is how attachments get past filters. Honest programs hardly ever write such mail; put
-- false here to let it through (its parts are still checked, under every reading).
local refuse_ambiguous = true

-- Archives that cannot be listed to their end: they are broken, their names are encrypted, or they are larger or nested deeper
-- than worker.max_archive_entries, _bytes, _time and _depth allow. Those whose files alone are encrypted can be listed.
local refuse_unreadable = true

local options = { archives = true, unreadable = refuse_unreadable }

-- What content is, of an attachment whose name does not say it.
local programs = {}
for _, type in ipairs{
    "application/java-vm", "application/vnd.microsoft.portable-executable", "application/vnd.ms-htmlhelp", "application/x-dosexec",
    "application/x-executable", "application/x-mach-binary", "application/x-ms-shortcut", "application/x-msdownload",
    "application/x-msi", "application/x-mswinurl", "application/x-pie-executable", "application/x-sharedlib",
    "text/x-ms-regedit", "text/x-msdos-batch",
} do
    programs[type] = true
end

-- Windows Installer is known by a class in its storage, which documents of Office have another of.
local installer_class = "\x84\x10\x0c\0\0\0\0\0\xc0\0\0\0\0\0\0\x46"

-- A name may also end in the number of a class, which Windows takes for its kind: "picture.jpg.{00021401-…}".
local class_number = "\\.\\{[^}]+\\}[. ]*$"

-- Whether a part is called like a program; with an archive that cannot be listed, "unreadable" as well.
local function is_forbidden(part)
    local found, why = part:has_extension(forbidden, options)
    if found then
        return true, why
    end
    return part:name_matches(class_number, options)
end

-- Whether a part that no extension describes is a program. Only such a part is decoded for it, and not a text that is shown
-- as one, whose first letters may be those of a program.
local function is_program(part)
    local is_shown = part.type:find("^text/") and part.disposition ~= "attachment"
    if part.is_container or is_shown or part:name_matches("\\.") then
        return false
    end
    local type = part.detected_type
    return programs[type] or type == "application/x-ole-storage" and part:content():find(installer_class, 1, true) ~= nil
end

function filter_message(msg)
    for part in msg:walk() do
        local found, why = is_forbidden(part)
        local name = part.filename or part.filenames[1] or "?"
        if why == "unreadable" then
            local _, error = part:entries()
            log.info("refused: archive %q cannot be listed: %s", name, error)
            return reject("This mail has an archive that we cannot look into.\n"
                .. "Please send a link, or an archive without a password, or the files themselves.")
        elseif found or is_program(part) then
            log.info("refused: attachment %q", name)
            return reject("This mail has an attachment of a kind that we do not take (" .. part.type .. ").\n"
                .. "Please send a link, or another kind of file.")
        end
    end
    if refuse_ambiguous and msg.ambiguous then
        local defect = msg.defects[1]
        log.info("refused: ambiguous (%s)", defect and defect.kind or "?")
        return reject("This mail is malformed in a way that could hide an attachment.")
    end
end
