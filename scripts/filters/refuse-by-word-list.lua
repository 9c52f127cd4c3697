-- refuse-by-word-list.lua: refuses mail that has a word or phrase of a list in its subject or text.
--
-- The list is a text file, a word or phrase in each line; a line that begins with # is a remark. Case, punctuation and line
-- ends do not matter ("act now" is found in "ACT,\n now!"), and characters of no width between the letters are seen through.
-- Letters outside ASCII count as they are written. A changed file is in force within a minute, without a reload.
--
-- Settings, in [filter]:
--   word_list =               the file; without it, refuse-by-word-list.txt beside the filter. In another folder it must be
--                             readable for filters: worker.read_paths
--   word_list_refresh = 60    seconds after which the file is looked at again
--   word_list_text = …        what the sender is told
--   word_list_outgoing = no   mail of our own users is judged, too

local file = require "postern.file"
local log = require "postern.log"

local path = config.word_list ~= "" and config.word_list or file.beside("refuse-by-word-list.txt")
    or error("there is no list: set word_list in [filter]", 0)
local text = config.word_list_text or "This mail reads like what nobody here asked for."

-- In UTF-8: soft hyphen, zero-width space, non-joiner and joiner, word joiner, byte order mark.
local invisible = { "\u{ad}", "\u{200b}", "\u{200c}", "\u{200d}", "\u{2060}", "\u{feff}" }

-- Words in lower case with one blank between them.
local function normal(raw)
    for _, character in ipairs(invisible) do
        raw = raw:gsub(character, "")
    end
    return (raw:lower():gsub("[^%w\128-\255]+", " "):gsub("^ ", ""):gsub(" $", ""))
end

-- Phrases by their first word, so that a long list costs no more than a short one.
local function parse(content)
    local by_word = {}
    for line in content:gmatch("[^\r\n]+") do
        local phrase = line:sub(1, 1) ~= "#" and normal(line) or ""
        if phrase ~= "" then
            local first = phrase:match("^%S+")
            by_word[first] = by_word[first] or {}
            table.insert(by_word[first], phrase)
        end
    end
    return by_word
end

local get_phrases = file.watch(path, parse, { refresh = config.word_list_refresh or 60 })

local function find(raw)
    local words, phrases = normal(raw) .. " ", get_phrases()
    for at, word in words:gmatch("()(%S+)") do
        for _, phrase in ipairs(phrases[word] or {}) do
            if words:sub(at, at + #phrase) == phrase .. " " then
                return phrase
            end
        end
    end
end

function filter_message(msg)
    if msg.direction == "out" and not config.word_list_outgoing then
        return
    end
    local body = msg:text()
    for _, defect in ipairs(msg.defects) do
        if defect.kind == "text-too-long" then
            log.info("refused: the text is over worker.max_text")
            return reject("This mail has more text than we can look through: please attach it, or send less.")
        end
    end
    local phrase = find(msg.subject) or find(body)
    if phrase then
        log.info("refused: the list has %q", phrase)
        return reject(text)
    end
end
