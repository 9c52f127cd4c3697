-- postern.internal.idn_fold: letters that look like others in a domain's name, as readers of names in UTF-8 take them (UTS #46): capitals of
-- Latin, Greek, Cyrillic and Armenian are lowered, wide forms become ASCII, other dots become dots, what is not seen goes. Not all of
-- UTS #46: what is not known here stays, and makes another name.

local idn_fold = {}

-- From, to, what is added.
local SHIFTS = {
    { 0xC0, 0xD6, 32 }, { 0xD8, 0xDE, 32 }, { 0x391, 0x3A1, 32 }, { 0x3A3, 0x3AB, 32 }, { 0x400, 0x40F, 80 }, { 0x410, 0x42F, 32 },
    { 0x531, 0x556, 48 }, { 0xFF0D, 0xFF0E, -0xFEE0 }, { 0xFF10, 0xFF19, -0xFEE0 }, { 0xFF21, 0xFF3A, 0x61 - 0xFF21 },
    { 0xFF41, 0xFF5A, -0xFEE0 },
}
-- Capital and small letter side by side: from the first capital to the last.
local PAIRS = {
    { 0x100, 0x12E }, { 0x132, 0x136 }, { 0x139, 0x147 }, { 0x14A, 0x176 }, { 0x179, 0x17D }, { 0x460, 0x480 }, { 0x48A, 0x4BE },
    { 0x4D0, 0x52E }, { 0x1E00, 0x1E94 }, { 0x1EA0, 0x1EFE },
}
local OTHERS = {
    [0x178] = "\u{FF}", [0x1E9E] = "ss", [0x3002] = ".", [0xFF61] = ".", [0xAD] = "", [0x34F] = "", [0x200B] = "", [0x2060] = "",
    [0xFEFF] = "",
}

local function fold(char)
    local point = utf8.codepoint(char)
    if OTHERS[point] then
        return OTHERS[point]
    end
    for _, range in ipairs(SHIFTS) do
        if point >= range[1] and point <= range[2] then
            return utf8.char(point + range[3])
        end
    end
    for _, range in ipairs(PAIRS) do
        if point >= range[1] and point <= range[2] and (point - range[1]) % 2 == 0 then
            return utf8.char(point + 1)
        end
    end
    return char
end

---A name in UTF-8, folded; nil when it is not UTF-8.
function idn_fold.name(name)
    if not name:find("[\128-\255]") then
        return name:lower()
    elseif not utf8.len(name) then
        return nil
    end
    return (name:gsub("[\194-\244][\128-\191]*", fold):lower())
end

return idn_fold
