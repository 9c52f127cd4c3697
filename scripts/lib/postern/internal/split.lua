-- postern.internal.split: msg:split. Copies of a message, one for each recipient or domain, go to smtp.reinject; the message itself is
-- thrown away once all of them were taken. What was taken is remembered in the store by keyed hashes of message and recipient, so that
-- the next try of a mail server, or another worker after a crash, sends what is missing and nothing else.

local async = require "postern.async"
local client = require "postern.internal.smtp_client"
local internal = require "postern.internal.smtp"
local log = require "postern.log"
local store = require "postern.store"
local system = require "postern.internal.system"

local split = {}

local PREFIX, TAKEN = "split:", "taken"
local LEASE = 30 -- seconds that a claim outlives the time that its hook had left: of one that was cancelled nobody knows what it has sent
local LEASE_WITHOUT_END = 600
local MARK, ORIGIN = "X-Postern-Split", "X-Postern-Origin"
local options = system.options("smtp")

-- ---- groups ----

-- The same for spellings of an address that are one.
local function normal(recipient)
    local user, domain = recipient.address:match("^(.*)@([^@]*)$")
    return user and user .. "@" .. domain:lower() or recipient.address
end

-- { name =, recipients = { { address =, args =, key = } … } } in the order of their names: that of the commands does not matter.
local function groups_of(msg, by)
    local list, by_name, seen = {}, {}, {}
    for _, rcpt in ipairs(msg.recipients) do
        local key = normal(rcpt)
        local name = by == "domain" and rcpt.domain:lower() or key
        if not seen[key] then
            seen[key] = true
            local group = by_name[name]
            if not group then
                group = { name = name, recipients = {} }
                by_name[name], list[#list + 1] = group, group
            end
            group.recipients[#group.recipients + 1] = { address = rcpt.address, args = rcpt.args, key = key }
        end
    end
    table.sort(list, function(a, b) return a.name < b.name end)
    for _, group in ipairs(list) do
        table.sort(group.recipients, function(a, b) return a.key < b.key end)
    end
    return list
end

-- ---- fields ----

---The fields that stand before a copy: who brought the mail, and that it is a copy.
function split.head(msg, is_by_domain)
    local received = internal.received(msg, client.own_name())
    if not options.reinject_mark then
        return received
    end
    return internal.mark(msg, is_by_domain) .. internal.origin(msg) .. received
end

-- Fields of ours have done their work when a copy is back; a stranger's have none to do.
local function forget_marks(msg)
    msg:delete_header(MARK)
    if msg.is_split then
        msg:delete_header(ORIGIN)
    end
end

-- ---- claims ----

-- Claims a recipient: true; TAKEN; or nil and why not.
local function claim(entry, uid, attempt, lease)
    local ok, err = store.add(entry, uid, lease)
    if ok then
        return true
    elseif ok == nil then
        return nil, "the store: " .. tostring(err)
    end
    local value = store.get(entry)
    if value == TAKEN then
        return TAKEN
    elseif value == uid and attempt > 1 then
        return store.set(entry, uid, lease) -- the worker that had it is dead
    end
    return nil, "another try is under way"
end

-- Those of a group's recipients that nobody has sent a copy to: a list; and why not all of them could be claimed.
local function claim_all(job, group)
    local mine, why = {}, nil
    for _, recipient in ipairs(group.recipients) do
        recipient.entry = PREFIX .. internal.name(job.identity, recipient.key)
        local got, err = claim(recipient.entry, job.uid, job.attempt, job.lease)
        if got == true then
            mine[#mine + 1] = recipient
        elseif not got then
            why = err
        else
            job.entries[#job.entries + 1] = recipient.entry
        end
    end
    return mine, why
end

local function note_taken(job, recipient)
    local ok, err = store.set(recipient.entry, TAKEN, options.split_keep)
    if not ok then
        log.error("it cannot be remembered that a copy for %s was taken, and it may be sent again: %s", recipient.address, err or "?")
    end
    job.entries[#job.entries + 1] = recipient.entry
end

-- ---- sending ----

local function session_of(job)
    if job.session then
        return job.session
    end
    local mode = options.tls_verify and "verify" or options.tls_required and "must" or options.starttls and "may" or "no"
    local err
    job.session, err = client.open(job.where, { timeout = options.timeout, tls = mode, may_be_ourselves = true })
    return job.session, err
end

-- nil, or why not.
local function send_group(job, group, mine)
    local session, err = session_of(job)
    if not session then
        for _, recipient in ipairs(mine) do
            store.delete(recipient.entry)
        end
        return err
    end
    session:timeout(options.timeout)
    local said, why = session:mail{
        sender = job.sender, args = job.args, recipients = mine, head = job.head, content = job.content,
    }
    if not said then
        job.session = nil
    end
    local failure = why
    for i, recipient in ipairs(mine) do
        local answer = said and (said.answers[i] or said)
        if said and said.is_taken and answer.code < 300 then
            note_taken(job, recipient)
        else
            store.delete(recipient.entry)
            failure = failure or ("%s: %d %s"):format(recipient.address, answer.code, answer.text)
        end
    end
    if failure then
        log.warn("the copy for %s was not taken: %s", group.name, failure)
    end
    return failure
end

-- Why not all copies were taken, or nil. What can be sent is sent: the next try has less to do.
local function send_all(job, groups)
    local failure
    local _ <close> = setmetatable({}, { __close = function() -- cancelled: the server must not wait for more
        if job.session then
            job.session.stream:close()
        end
    end })
    for _, group in ipairs(groups) do
        local mine, why = claim_all(job, group)
        failure = failure or why
        if #mine > 0 then
            why = send_group(job, group, mine)
            failure = failure or why
            if why and not job.session then
                break -- the server is not there, or did not answer
            end
        end
    end
    if job.session then
        job.session:quit()
        job.session = nil
    end
    return failure
end

-- Without a Message-ID two mails may be alike without being one: once all copies are taken, the next is another mail.
local function forget(job, msg)
    if msg.message_id == "" then
        for _, entry in ipairs(job.entries) do
            store.delete(entry)
        end
    end
end

local function job_of(msg, by, where)
    local left = async.time_left()
    return {
        uid = msg.uid, attempt = msg.attempt, identity = internal.identity(msg), where = where, entries = {},
        lease = (left and left < 86400 and left or LEASE_WITHOUT_END) + LEASE,
        sender = msg.sender, args = msg.sender_args, head = split.head(msg, by == "domain"), content = internal.content(msg),
    }
end

-- ---- msg:split ----

-- Errors name the filter's line: between it and us is msg:split itself.
local function check(given)
    if type(given) ~= "table" then
        error("msg:split: a table with by = \"recipient\" or \"domain\" expected, not " .. type(given), 4)
    end
    for name in pairs(given) do
        if name ~= "by" then
            error(("msg:split: there is no option '%s'"):format(tostring(name)), 4)
        end
    end
    if given.by ~= "recipient" and given.by ~= "domain" then
        error("msg:split: by is \"recipient\" or \"domain\"", 4)
    end
    local where = options.reinject ~= "" and client.where(options.reinject)
    if not where then
        error("msg:split: smtp.reinject names no server", 4)
    end
    return given.by, where
end

---The verdict that the filter has to return, and its text; nil: there is nothing to split.
local function split_message(msg, given)
    local by, where = check(given)
    if msg:raw_header(MARK) then
        forget_marks(msg)
    end
    local groups = groups_of(msg, by)
    if #groups < 2 then
        return nil
    elseif not internal.does_deeds() then
        msg:log("split", ("%d copies, not sent"):format(#groups))
        return "discard"
    end
    local job = job_of(msg, by, where)
    local failure = send_all(job, groups)
    if failure then
        msg:log("split", "not all copies were taken: " .. failure:sub(1, 200))
        return "tempfail", "not all recipients could be served, please try again"
    end
    forget(job, msg)
    msg:log("split", ("%d copies"):format(#groups))
    return "discard"
end

return setmetatable(split, { __call = function(_, ...) return split_message(...) end })
