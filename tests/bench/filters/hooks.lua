-- The work of parts.lua, with a hook at every stage of the envelope: each is a question that the mail server waits for.
function filter_relay(conn) end

function filter_helo(conn) end

function filter_sender(msg) end

function filter_recipient(msg, rcpt) end

function filter_data(msg) end

function filter_headers(msg) end

function filter_message(msg)
    local parts, bytes = 0, 0
    for part in msg:parts() do
        parts = parts + 1
        bytes = bytes + part.size
        if part:has_extension{ "exe" } then return reject("no programs") end
    end
    msg:add_header("X-Scanned", ("parts=%d bytes=%d"):format(parts, bytes))
end
