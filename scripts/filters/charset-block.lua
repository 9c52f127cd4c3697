-- charset-block.lua: refuses mail in character sets that nobody here reads, or that only hide something.
--
-- Every part counts, and every encoded word in a header field ("=?koi8-r?B?…?=").
--
-- Settings, in [filter]:
--   blocked_charsets = hidden     names, and families of them: hidden cyrillic greek hebrew arabic thai turkish chinese
--                                 japanese korean. A * at the end of a name stands for anything: iso-2022-*
--   allowed_charsets =            exceptions from these
--   charset_senders =             senders who may use them all the same: @example.org, bob@example.com

local log = require "postern.log"

-- UTF-8 is in no family: it says nothing about the language.
local families = {
    -- What looks like ASCII is something else there; honest mail is not written in them.
    hidden = "utf-7 unicode-1-1-utf-7 utf-7-imap utf-16* utf-32* ucs-2* ucs-4* hz-gb-2312 scsu bocu-1 ebcdic* ibm037 ibm1047",
    cyrillic = "koi8-* koi7* iso-8859-5 windows-1251 cp1251 cp866 ibm866 x-mac-cyrillic iso-ir-111 ptcp154",
    greek = "iso-8859-7 windows-1253 cp1253 x-mac-greek",
    hebrew = "iso-8859-8* windows-1255 cp1255 x-mac-hebrew dos-862",
    arabic = "iso-8859-6* windows-1256 cp1256 x-mac-arabic asmo-708",
    thai = "tis-620 windows-874 cp874 iso-8859-11",
    turkish = "iso-8859-9 windows-1254 cp1254 x-mac-turkish",
    chinese = "gb2312* gb_2312* gbk cp936 ms936 gb18030 big5* cp950 hz-gb-2312 iso-2022-cn* euc-cn euc-tw x-gbk",
    japanese = "iso-2022-jp* shift_jis* shift-jis sjis x-sjis cp932 windows-31j euc-jp* x-euc-jp",
    korean = "euc-kr ks_c_5601* ksc5601 ksc_5601 iso-2022-kr cp949 uhc johab windows-949",
}

-- Two tables: names as keys, and beginnings of names as a list.
local function read_names(text)
    local names, beginnings = {}, {}
    for word in text:lower():gmatch("[^%s,]+") do
        for name in (families[word] or word):gmatch("%S+") do
            if name:sub(-1) == "*" then
                beginnings[#beginnings + 1] = name:sub(1, -2)
            else
                names[name] = true
            end
        end
    end
    return function(charset)
        if names[charset] then
            return true
        end
        for _, beginning in ipairs(beginnings) do
            if charset:sub(1, #beginning) == beginning then
                return true
            end
        end
        return false
    end
end

local is_blocked = read_names(config.blocked_charsets or "hidden")
local is_allowed = read_names(config.allowed_charsets or "")
local senders = {}
for address in (config.charset_senders or ""):lower():gmatch("[^%s,]+") do
    senders[address] = true
end

-- msg:charsets() tells so many, and a defect when there are more: then nobody knows which.
local function has_too_many(msg)
    for _, defect in ipairs(msg.defects) do
        if defect.kind == "too-many-charsets" then
            return true
        end
    end
    return false
end

function filter_message(msg)
    if senders[msg.sender:lower()] or senders["@" .. msg.sender_domain] then
        return
    end
    for _, charset in ipairs(msg:charsets()) do
        if is_blocked(charset) and not is_allowed(charset) then
            log.info("refused: charset %s", charset)
            return reject("We cannot read mail in the character set " .. charset .. ".\nPlease write in another one, best in UTF-8.")
        end
    end
    if has_too_many(msg) then
        log.info("refused: too many charsets")
        return reject("This mail is in more character sets than we can look through.\nPlease write in one, best in UTF-8.")
    end
end
