-- disclaimer.lua: a text below outgoing mail, in plain text and in HTML, once in each thread.
--
-- Mail of our own users, known by network or by authentication, gets it; incoming mail, and signed and encrypted mail, does
-- not. Whoever wants more than one text for all domains changes the table below.
--
-- Settings, in [filter]:
--   disclaimer_text = …        the text; ${sender}, ${subject}, ${date} and more stand for what the mail says
--   disclaimer_html = …        the same for mail in HTML; nothing: the text
--   disclaimer_marker = …      words that tell that it is there already; nothing: the text itself

local disclaimer = require "postern.disclaimer"
local log = require "postern.log"

local function setting(name)
    local value = config[name]
    return value ~= "" and value or nil
end

local below = disclaimer.new{
    text = setting("disclaimer_text") or "\n-- \nThis mail is for its recipients alone. If it reached you by mistake, tell ${sender} and delete it.",
    html = setting("disclaimer_html"),
    marker = setting("disclaimer_marker"),
    domains = {
        -- ["example.net"] = { text = "\n-- \nExample Net", html = "<p><b>Example Net</b></p>" },
    },
}

function filter_message(msg)
    local done, why = below(msg)
    if not done and why ~= "incoming" then
        log.info("no disclaimer: %s", why)
    end
end
