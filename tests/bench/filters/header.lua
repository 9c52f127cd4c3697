-- Header only: adds one header and reads nothing of the message.
function filter_message(msg)
    msg:add_header("X-Scanned", "yes")
end
