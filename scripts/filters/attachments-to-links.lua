-- attachments-to-links.lua: large attachments leave the mail for a web server; a link to them takes their place.
--
-- Where the files go and under which address they are served stands in the configuration: directory, base_url, age and
-- max_bytes of [urls]; see docs/filters/attachments-to-links.md for all that it takes.
--
-- Settings, in [filter]:
--   links_over = 5000000    attachments of more bytes than this become links
--   links_direction = both  of which mail: in, out, both
--   links_signed = no       yes: also in signed mail, whose signature that breaks
--   links_directory, links_base_url   instead of urls.directory and urls.base_url
--   links_text =            what stands in their place, with ${name}, ${size}, ${url}, ${expires}

local log = require "postern.log"

local over = config.links_over or 5000000
local direction = config.links_direction or "both"
local in_signed = config.links_signed or false
local text = config.links_text

if math.type(over) ~= "integer" or over < 0 then
    error("links_over in [filter] is a number of bytes", 0)
end
if direction ~= "in" and direction ~= "out" and direction ~= "both" then
    error("links_direction in [filter] is in, out or both", 0)
end

-- The text that people read stays, however long it is, and so does what a mail reader shows inside of it.
local function is_attachment(part)
    if part.is_encrypted or (part.is_signed and not in_signed) then
        return false
    end
    return part.disposition == "attachment" or (part.filename ~= nil and part.content_id == "")
end

function filter_message(msg)
    if msg.size <= over or (direction ~= "both" and direction ~= msg.direction) then
        return
    end
    for part in msg:parts() do
        if part.size > over and is_attachment(part) then
            local name = part.filename or "unnamed"
            local url, why = part:replace_with_url{ directory = config.links_directory, base_url = config.links_base_url, text = text }
            if url then
                log.info("%s (%d bytes) is now behind %s", name, part.size, url)
            else
                log.warn("%s stays in the mail: %s", name, why)
            end
        end
    end
end
