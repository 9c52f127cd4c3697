-- virus-names.lua: keeps and discards mail whose attachments are named as only malware names them.
--
-- A program called setup.exe may be somebody's honest mistake, and block-executables.lua tells the sender so. Names that
-- pretend to be something else are none: the mail is kept for you (posternctl trap), its recipients are not
-- bothered, and its sender, who is forged anyway, gets no answer.
--
-- Settings, in [filter]:
--   virus_programs = …    extensions of programs; see below
--   virus_names =         a regular expression (PCRE2, caseless) for names of your own: ^(invoice|order)[0-9]{6}\.iso$
--   virus_archives = yes  names within archives count, too

local log = require "postern.log"
local metrics = require "postern.metrics"
local caught = metrics.counter("virus_names", "mails with attachments that are named like malware, by kind of name")

local programs = (config.virus_programs or "exe scr com pif bat cmd vbs vbe js jse wsf wsh hta lnk msi jar ps1 cpl"):gsub("[%s,]+", "|")
local documents = "docx?|xlsx?|pptx?|pdf|rtf|txt|csv|jpe?g|png|gif|bmp|html?|zip|mp3|mp4|avi|wav"
-- An archive that cannot be read is no virus yet: block-executables.lua decides about those.
local options = { archives = config.virus_archives ~= false, unreadable = false }

local kinds = {
    { name = "double extension", pattern = "\\.(" .. documents .. ")[. _]*\\.(" .. programs .. ")[. ]*$" },
    { name = "extension pushed out of sight", pattern = "\\s{5,}\\.(" .. programs .. ")[. ]*$" },
    { name = "written backwards", pattern = "[\\x{202e}\\x{202d}\\x{2066}-\\x{2069}].*\\.(" .. programs .. ")[. ]*$" },
    { name = "class number", pattern = "\\.\\{[0-9a-f]{8}-[0-9a-f-]{27}\\}[. ]*$" },
}
if config.virus_names then
    table.insert(kinds, { name = "names of our own", pattern = config.virus_names })
end

local function kind_of(part)
    for _, kind in ipairs(kinds) do
        if part:name_matches(kind.pattern, options) then
            return kind.name
        end
    end
end

function filter_message(msg)
    for part in msg:walk() do
        local kind = kind_of(part)
        if kind then
            local reason = "an attachment is named like malware (" .. kind .. ")"
            -- False for mail that you have looked at and released: it goes on.
            if msg:trap{ mode = "store", reason = reason } then
                caught:inc(1, { kind = kind })
                log.info("kept and discarded: %s: %q", reason, part.filename or part.filenames[1] or "")
                return discard()
            end
            return
        end
    end
end
