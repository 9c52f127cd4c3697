-- postern.disclaimer: a text below mail, from templates for plain text and for HTML, by the sender's domain.
--
--   local disclaimer = require "postern.disclaimer"
--   local below = disclaimer.new{
--       text = "-- \nExample Ltd, registered in Examplia. Sent by ${sender}.",
--       html = "<p>Example Ltd, registered in Examplia. Sent by ${sender}.</p>",
--       domains = { ["example.net"] = { text = "Example Net" } },
--   }
--   function filter_message(msg)
--       below(msg)
--   end
--
-- A variable's value is put into text as it is, but for control characters, and escaped into HTML. A name that is not known
-- is an error when the templates are read, not when the first mail comes.

local html = require "postern.html"

local disclaimer = {}

-- What a template can name of the message: a function of msg, and of the time of the mail.
local variables = {
    sender = function(msg) return msg.sender end,
    sender_local = function(msg) return msg.sender_local end,
    sender_domain = function(msg) return msg.sender_domain end,
    from = function(msg) return msg:header("From") or "" end,
    to = function(msg) return msg:header("To") or "" end,
    subject = function(msg) return msg.subject end,
    message_id = function(msg) return msg.message_id end,
    uid = function(msg) return msg.uid end,
    date = function(_, now) return os.date("%Y-%m-%d", now) end,
    time = function(_, now) return os.date("%H:%M", now) end,
    year = function(_, now) return os.date("%Y", now) end,
}

local option_names = {
    text = "string", html = "string", domains = "table", variables = "table",
    outgoing = "boolean", once = "boolean", marker = "string", force = "boolean",
}
local domain_names = { text = "string", html = "string" }

local function check_options(options, names, level)
    for name, value in pairs(options) do
        if not names[name] then
            error(("disclaimer: there is no option '%s'"):format(tostring(name)), level + 1)
        end
        if type(value) ~= names[name] then
            error(("disclaimer: %s is a %s"):format(name, names[name]), level + 1)
        end
    end
end

-- A template as a list of texts and of { name = … }. "$$" is a dollar.
local function read(template, own, level)
    local pieces, at = {}, 1
    while true do
        local from, to, name = template:find("%${([^}]*)}", at)
        local dollar = template:find("$$", at, true)
        if dollar and (not from or dollar < from) then
            pieces[#pieces + 1] = template:sub(at, dollar)
            at = dollar + 2
        elseif from then
            if not variables[name] and own[name] == nil then
                error(("disclaimer: the template names a variable '%s' that is not known"):format(name), level + 1)
            end
            pieces[#pieces + 1] = template:sub(at, from - 1)
            pieces[#pieces + 1] = { name = name }
            at = to + 1
        else
            if template:find("${", at, true) then
                error("disclaimer: a variable is not closed: \"${\" without \"}\"", level + 1)
            end
            pieces[#pieces + 1] = template:sub(at)
            return pieces
        end
    end
end

local function identity(value)
    return value
end

local function plain(value)
    return (value:gsub("%c+", " "))
end

local function value_of(name, own, msg, now)
    local value = own[name]
    if value == nil then
        value = variables[name]
    end
    if type(value) == "function" then
        value = value(msg, now)
    end
    return value == nil and "" or tostring(value)
end

-- What tells that a form is there already, whoever sent the mail that has it: its text with a NUL, which stands for anything in
-- append_text, where a value changes from mail to mail. Nil when too little of it is the same in all mail.
local ANYTHING, FIXED_MIN = "\u{F0000}", 16

local function marker_of(pieces, own, escape, to_text)
    local out, is_varied = {}, false
    for i, piece in ipairs(pieces) do
        local value = type(piece) == "table" and own[piece.name]
        if type(piece) == "string" then
            out[i] = piece
        elseif value and type(value) ~= "function" then
            out[i] = escape(plain(tostring(value)))
        else
            out[i], is_varied = ANYTHING, true
        end
    end
    local marker = to_text(table.concat(out)):gsub(ANYTHING, "\0")
    local fixed = marker:gsub("[\0%s%p]", "")
    return (not is_varied or #fixed >= FIXED_MIN) and marker or nil
end

local function fill(pieces, own, msg, escape, now)
    local out = {}
    for i, piece in ipairs(pieces) do
        out[i] = type(piece) == "string" and piece or escape(plain(value_of(piece.name, own, msg, now)))
    end
    return table.concat(out)
end

local function read_forms(options, own, level)
    if not options.text and not options.html then
        error("disclaimer: text or html is missing", level + 1)
    end
    local text = options.text and read(options.text, own, level + 1)
    local as_html = options.html and read(options.html, own, level + 1)
    return {
        text = text,
        html = as_html,
        text_marker = text and marker_of(text, own, identity, identity),
        html_marker = as_html and marker_of(as_html, own, html.escape, html.text),
    }
end

local function check_msg(msg, name, level)
    if type(msg) ~= "userdata" then
        error(("%s: a msg expected, not %s"):format(name, type(msg)), level + 1)
    end
end

---Whether the mail was sent by a user of ours: from a trusted network, or authenticated.
function disclaimer.is_outgoing(msg)
    check_msg(msg, "disclaimer.is_outgoing", 2)
    return msg.direction == "out"
end

---A template filled in for a message. target: "text" (default) or "html".
function disclaimer.fill(template, msg, target, own)
    if type(template) ~= "string" then
        error("disclaimer.fill: the template is a string", 2)
    end
    check_msg(msg, "disclaimer.fill", 2)
    if target ~= nil and target ~= "text" and target ~= "html" then
        error("disclaimer.fill: the target is text or html", 2)
    end
    if own ~= nil and type(own) ~= "table" then
        error("disclaimer.fill: variables is a table", 2)
    end
    own = own or {}
    return fill(read(template, own, 2), own, msg, target == "html" and html.escape or identity, os.time())
end

-- The forms for a domain: its own, or those of the nearest domain above it, or those for all.
local function forms_for(self, domain)
    while domain do
        if self.domains[domain] then
            return self.domains[domain]
        end
        domain = domain:match("^[^.]*%.(.+)$")
    end
    return self.forms
end

-- Either form tells that it is there: mail in HTML alone has one, and quotes of it the other.
local function once_of(self, forms, as_text, as_html)
    if self.marker or not self.once then
        return self.marker
    end
    local once = {}
    for _, wanted in ipairs{ as_text and (forms.text_marker or as_text) or false,
                             as_html and (forms.html_marker or html.text(as_html)) or false } do
        if wanted and wanted:find("[^\0%s]") then
            once[#once + 1] = wanted
        end
    end
    return #once > 0 and once or nil
end

-- Both forms are one text: HTML alternatives get the HTML, the others the text.
local function append(self, msg)
    check_msg(msg, "disclaimer", 2)
    if self.outgoing and not disclaimer.is_outgoing(msg) then
        return false, "incoming"
    end
    local forms = forms_for(self, msg.sender_domain)
    if not forms then
        return false, "no disclaimer for the domain"
    end
    local now = os.time()
    local as_html = forms.html and fill(forms.html, self.variables, msg, html.escape, now)
    local as_text = forms.text and fill(forms.text, self.variables, msg, identity, now)
    local options = { force = self.force, once = once_of(self, forms, as_text, as_html) }
    local done, why = msg:append_text(as_text or html.text(as_html), options)
    if as_html and done then
        msg:append_html(as_html, options)
    end
    return done, why
end

local methods = { append = append }
local class = { __index = methods, __call = append, __name = "postern.disclaimer" }

---Reads the templates. The result is called with msg, in filter_message, and returns true, or false and why.
function disclaimer.new(options)
    if type(options) ~= "table" then
        error("disclaimer.new: a table expected", 2)
    end
    check_options(options, option_names, 2)
    local own = options.variables or {}
    local self = {
        variables = own, domains = {}, marker = options.marker, force = options.force,
        outgoing = options.outgoing ~= false, once = options.once ~= false,
    }
    for domain, forms in pairs(options.domains or {}) do
        if type(forms) ~= "table" then
            error(("disclaimer: domains['%s'] is a table with text or html"):format(tostring(domain)), 2)
        end
        check_options(forms, domain_names, 2)
        self.domains[domain:lower()] = read_forms(forms, own, 2)
    end
    if options.text or options.html or not options.domains then
        self.forms = read_forms(options, own, 2)
    end
    return setmetatable(self, class)
end

return disclaimer
