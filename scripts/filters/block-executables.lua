-- block-executables.lua: refuses mail with attachments that a mail reader would run.
--
-- What counts is every name that some mail reader could derive from a part, not only the one that most would show: a file
-- called "invoice.pdf" for one program may be "invoice.exe" for another. Archives are looked into, and archives in them, and
-- what winmail.dat, uuencode, yEnc and smime.p7m carry are parts as any other.

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

function filter_message(msg)
    for part in msg:walk() do
        local found, why = is_forbidden(part)
        local name = part.filename or part.filenames[1] or "?"
        if why == "unreadable" then
            local _, error = part:entries()
            log.info("refused: archive %q cannot be listed: %s", name, error)
            return reject("This mail has an archive that we cannot look into.\n"
                .. "Please send a link, or an archive without a password, or the files themselves.")
        elseif found then
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
