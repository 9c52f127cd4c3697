-- rules-by-recipient.lua: asks spamd once, and marks or refuses mail by the score that each recipient wants; some want no checks at all.
--
-- The rules are a text file with a line for each recipient, domain or name; a line that begins with # is a remark:
--     ann@example.net  tag=4 refuse=8
--     @example.net     tag=5 refuse=12
--     postmaster@      off
--     *                tag=5
-- A changed file is in force within a minute. Mail of our own users is not checked. A mail server takes or refuses a mail for all of its
-- recipients at once, so somebody has to give way when they want different things: rules_several says who. Settings, in [filter]:
--   rules_file =             the file; without it, rules-by-recipient.txt beside the filter. In another folder it must be readable for
--                            filters: worker.read_paths
--   rules_refresh = 60       seconds after which the file is looked at again
--   rules_several = remove   those who would refuse the mail are taken off, and nobody is told; it is marked if all others want it so
--                   split    each recipient gets a mail of its own, judged by itself (needs smtp.reinject); there, too, nobody is told
--                   ask      the client is asked to send to those with other rules in a mail of its own; then all is done and told

local file = require "postern.file"
local spamassassin = require "postern.spamassassin"

local several = config.rules_several or "remove"
if several ~= "remove" and several ~= "split" and several ~= "ask" then
    error("rules_several is remove, split or ask, not " .. tostring(several), 0)
end

local NONE = {}

-- { tag =, refuse = }, of which each may be missing; or nil and what is wrong.
local function parse_rule(text)
    local rule = { is_off = text == "off" }
    for word in (rule.is_off and "" or text):gmatch("%S+") do
        local name, score = word:match("^(%l+)=(.+)$")
        score = tonumber(score)
        if not score or name ~= "tag" and name ~= "refuse" then
            return nil, ("%q is none of tag=SCORE, refuse=SCORE and off"):format(word)
        end
        rule[name] = score
    end
    return rule
end

-- The rules by address, @domain, name@ or *.
local function parse(content)
    local rules, why = file.map(content)
    for who, text in pairs(rules or {}) do
        rules[who], why = parse_rule(text)
        if why then
            return nil, ("%s: %s"):format(who, why)
        end
    end
    return rules, why
end

local path = config.rules_file ~= "" and config.rules_file or file.beside("rules-by-recipient.txt")
    or error("there are no rules: set rules_file in [filter]", 0)
local get_rules = file.watch(path, parse, { refresh = config.rules_refresh or 60 })

local function rule_of(rcpt)
    local rules, user, domain = get_rules(), rcpt.localpart:lower(), rcpt.domain:lower()
    return rules[rcpt.address:lower()] or rules["@" .. domain] or rules[user .. "@"] or rules["*"] or NONE
end

-- ---- what they say ----

local function outcome_of(rule, score)
    if rule.is_off then
        return "pass"
    end
    return rule.refuse and score >= rule.refuse and "refuse" or rule.tag and score >= rule.tag and "tag" or "pass"
end

-- Recipients by what they want: pass, tag or refuse; and how many kinds of wishes there are.
local function wishes(msg, score)
    local groups, n = {}, 0
    for _, rcpt in ipairs(msg.recipients) do
        local outcome = outcome_of(rule_of(rcpt), score)
        if not groups[outcome] then
            groups[outcome], n = {}, n + 1
        end
        table.insert(groups[outcome], rcpt)
    end
    return groups, n
end

local function is_anybody_checked(msg)
    for _, rcpt in ipairs(msg.recipients) do
        local rule = rule_of(rcpt)
        if rule.tag or rule.refuse then
            return true
        end
    end
    return false
end

local function refuse(msg, score)
    if msg.is_split then
        msg:log("refused", "dropped: it is too late to tell")
        return discard()
    end
    return reject{ text = ("this looks like spam (%.1f points)"):format(score), code = 554, dsn = "5.7.1" }
end

local function judge(msg, score)
    local groups, n = wishes(msg, score)
    local split = n > 1 and several == "split" and msg:split{ by = "recipient" }
    if split then
        return split
    elseif groups.refuse and n == 1 then
        return refuse(msg, score)
    end
    for _, rcpt in ipairs(groups.refuse or {}) do
        msg:log("refused_for", rcpt.address)
        msg:delete_recipient(rcpt)
    end
    msg:add_header("X-Spam-Score", ("%.1f"):format(score))
    if not groups.pass then
        msg:add_header("X-Spam-Flag", "YES")
    end
end

-- ---- hooks ----

function filter_message(msg)
    msg:delete_header("X-Spam-Flag") -- whoever set them, it was not us
    msg:delete_header("X-Spam-Score")
    if msg.direction == "out" or not is_anybody_checked(msg) then
        return
    end
    local checked = spamassassin.check(msg, { report = false })
    if checked and checked.score then -- else it is too large, or nobody answers and that is to be no hindrance
        msg:log("spam", ("%.1f"):format(checked.score))
        return judge(msg, checked.score)
    end
end

if several == "ask" then
    function filter_recipient(msg, rcpt)
            local rule = rule_of(rcpt)
        local wanted = rule.is_off and "off" or ("%s %s"):format(rule.tag, rule.refuse)
        msg.state.wanted = msg.state.wanted or wanted
        if msg.direction == "in" and wanted ~= msg.state.wanted then
            return tempfail{ text = "one mail for each recipient, please: send it to this one again", code = 452, dsn = "4.5.3" }
        end
    end
end
