-- The benchmark's filter: looks at every part and decodes it, refuses *.exe, adds one header. The bare filter and the peers do the same.
function filter_message(msg)
    local parts, bytes = 0, 0
    for part in msg:parts() do
        parts = parts + 1
        bytes = bytes + part.size
        if part:has_extension{ "exe" } then return reject("no programs") end
    end
    msg:add_header("X-Scanned", ("parts=%d bytes=%d"):format(parts, bytes))
end
