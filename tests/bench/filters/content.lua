-- The work of parts.lua with each part's decoded content as a string.
function filter_message(msg)
    local parts, bytes = 0, 0
    for part in msg:parts() do
        parts = parts + 1
        bytes = bytes + #part:content()
        if part:has_extension{ "exe" } then return reject("no programs") end
    end
    msg:add_header("X-Scanned", ("parts=%d bytes=%d"):format(parts, bytes))
end
