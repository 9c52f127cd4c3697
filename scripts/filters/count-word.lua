-- count-word.lua: counts words in subject and text, and says in a header field and in the log how often each was there.
--
-- It refuses nothing, unless it is told to. Words are whole words, in upper or lower case; letters outside ASCII count
-- only as they are written.
--
-- Settings, in [filter]:
--   count_words = invoice        the words, separated by commas or blanks
--   count_header = X-Words       the field: "invoice=2, payment=1"; "no" for none
--   count_hold = 0               from so many in one mail on, the mail goes into the mail server's quarantine; 0: never

local metrics = require "postern.metrics"
local found_words = metrics.counter("words", "words that count-word.lua looks for, found in mail")

local header = config.count_header
if header == nil then
    header = "X-Words"
end
local hold_from = config.count_hold or 0

local words, is_wanted = {}, {}
for word in tostring(config.count_words or "invoice"):lower():gmatch("[^%s,]+") do
    if not is_wanted[word] then
        is_wanted[word] = true
        words[#words + 1] = word
    end
end

-- A word is letters and digits of ASCII, and everything outside it.
local function count(text, counts)
    local n = 0
    for word in text:lower():gmatch("[%w\128-\255]+") do
        if is_wanted[word] then
            counts[word] = (counts[word] or 0) + 1
            n = n + 1
        end
    end
    return n
end

function filter_message(msg)
    local counts = {}
    local n = count(msg.subject, counts) + count(msg:text(), counts)
    local shown = {}
    for _, word in ipairs(words) do
        if counts[word] then
            shown[#shown + 1] = word .. "=" .. counts[word]
            found_words:inc(counts[word], { word = word })
        end
    end
    if header and msg:header(header) then
        msg:delete_header(header)          -- whoever set it, it was not us
    end
    if n == 0 then
        return
    end
    local text = table.concat(shown, ", ")
    msg:log("words", text)
    if header then
        msg:add_header(header, text)
    end
    if hold_from > 0 and n >= hold_from then
        msg:hold("words: " .. text)
    end
end
