-- checks/eicar.lua: a virus scanner that knows one virus, the harmless file of EICAR that every scanner finds.
--
-- It shows what minimum-protection.lua expects of a scanner, and lets you try what becomes of a mail with a virus:
--   [filter]
--   virus_scanner = checks.eicar

-- In pieces, so that scanners let this file alone.
local signature = "X5O!P%@AP[4\\PZX54(P^)7CC)7}$" .. "EICAR-STANDARD-" .. "ANTIVIRUS-TEST-FILE!$H+H*"
local SIZE_MAX = 1024                      -- the real one has 68 bytes, and blanks behind them

-- Returns nil for clean mail, the name of a virus, or false and why it could not look.
return function(msg)
    for part in msg:parts() do
        if part.size <= SIZE_MAX and part:content():find(signature, 1, true) then
            return "EICAR test file"
        end
    end
    return nil
end
