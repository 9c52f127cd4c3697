-- checks/gtube.lua: a spam checker that knows one spam, the line that every spam filter takes for the worst there is.
--
-- It shows what minimum-protection.lua expects of a checker, and lets you try what becomes of spam:
--   [filter]
--   spam_checker = checks.gtube

local line = "XJS*C4JDBQADN1.NSBN3*2IDNEN*" .. "GTUBE-STANDARD-" .. "ANTI-UBE-TEST-EMAIL*C.34X"

-- Returns score, the score from which mail is spam, names of tests, and a report; nothing when it could not look.
return function(msg)
    local score = msg:text():find(line, 1, true) and 1000 or 0
    return score, 5, score > 0 and "GTUBE" or "", "The text has the line of GTUBE: 1000 points."
end
