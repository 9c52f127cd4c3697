-- postern.dmarc: whether the domain in From is who sent the mail, and what it asks for when not (RFC 9989).
--
--   local dmarc = require "postern.dmarc"
--   function filter_message(msg)
--       local judged = dmarc.check(msg)
--       if judged.result == "fail" and judged.policy == "reject" then
--           return reject{ text = "the policy of " .. judged.domain .. " refuses this mail", dsn = "5.7.1" }
--       end
--   end

local author = require "postern.internal.author"
local dmarc_record = require "postern.internal.dmarc_record"
local dmarc_report = require "postern.internal.dmarc_report"
local dmarc_tree = require "postern.internal.dmarc_tree"
local domain = require "postern.internal.domain"
local options_of = require "postern.internal.options"
local suffixes = require "postern.internal.suffixes"
local together = require "postern.internal.together"

local dmarc = {}

local check_names = { spf = "table", dkim = "table", suffixes = "table" }

---Reads the list of public suffixes, for the way of RFC 7489. Nil and why.
function dmarc.suffixes(path)
    if path ~= nil and type(path) ~= "string" then
        error("dmarc.suffixes: the path of a file expected", 2)
    end
    return suffixes.read(path or "/usr/share/publicsuffix/public_suffix_list.dat")
end

-- Whether an identifier speaks for the author; nil and why when DNS failed.
local function is_aligned(finder, name, from, org, mode)
    if name == from then
        return true
    elseif mode == "s" or not domain.is_within(name, org) then
        return false -- whose organizational domain this is stands above it
    end
    local its_org, failure = finder:organizational(name)
    if not its_org then
        return nil, failure
    end
    return its_org == org
end

-- True when one of the identifiers that passed is aligned; nil when that cannot be known because DNS failed.
local function any_aligned(finder, identifiers, from, org, mode)
    local unknown
    for _, identifier in ipairs(identifiers) do
        local could_be = identifier.domain and domain.is_within(identifier.domain, org)
        if identifier.result == "pass" and identifier.domain then
            local aligned, failure = is_aligned(finder, identifier.domain, from, org, mode)
            if aligned then
                return true, identifier.domain
            end
            unknown = unknown or failure
        elseif identifier.result == "temperror" and could_be then
            unknown = unknown or identifier.reason
        end
    end
    if unknown then
        return nil, unknown
    end
    return false
end

local function exists(finder, name)
    local found = finder.dns.query(name, "A")
    return not (found and found.nxdomain)
end

local function result_of(spf, dkim)
    if spf or dkim then
        return "pass"
    end
    return (spf == nil or dkim == nil) and "temperror" or "fail"
end

-- SPF, DKIM and the way up from each domain of From, at the same time: none needs what another finds.
local function look_up(msg, options, finder, domains)
    local spf, dkim = options.spf, options.dkim
    local tasks = {}
    if not spf then
        tasks[#tasks + 1] = function() spf = require "postern.spf".check(msg) return true end
    end
    if not dkim then
        tasks[#tasks + 1] = function() dkim = require "postern.dkim".verify(msg) return true end
    end
    for _, from in ipairs(domains) do
        tasks[#tasks + 1] = function() finder:find(from) return true end
    end
    together.run(tasks)
    return spf, dkim
end

-- One domain of From.
local function judge(finder, from, spf, dkim)
    local record, found_at, org, failure = finder:find(from)
    local out = { domain = from, org_domain = org }
    if failure then
        out.result, out.reason = "temperror", failure
        return out
    elseif not record or record.is_void then
        out.result, out.reason = "none", record and "the record has an unknown policy" or "there is no record"
        return out
    end
    out.record, out.record_domain = record, found_at
    local by_spf, spf_why = any_aligned(finder, { spf }, from, org, record.aspf)
    local by_dkim, dkim_why = any_aligned(finder, dkim.signatures or {}, from, org, record.adkim)
    out.aligned = { spf = by_spf or false, dkim = by_dkim or false }
    out.dkim_domain = by_dkim and dkim_why or nil
    out.result = result_of(by_spf, by_dkim)
    out.reason = out.result == "temperror" and (spf_why or dkim_why) or nil
    local is_own = found_at == from
    out.published = dmarc_record.policy(record, is_own, is_own or not record.np or exists(finder, from))
    out.policy = dmarc_record.softened(record, out.published)
    return out
end

local RESULT_RANKS = { fail = 5, permerror = 4, temperror = 3, none = 2, pass = 1 }
local POLICY_RANKS = { reject = 3, quarantine = 2, none = 1 }

local function rank(out)
    local weight = out.result == "fail" and POLICY_RANKS[out.policy] or 0
    return RESULT_RANKS[out.result] * 10 + weight
end

local function worse(a, b)
    return (not a or rank(b) > rank(a)) and b or a
end

---Judges a message. Where From has several domains, each is judged, and the worst answer counts.
function dmarc.check(msg, options)
    options = options_of.check("dmarc.check", msg, options, check_names)
    local domains, wrong, n_fields = author.domains(msg)
    local finder = dmarc_tree.new(options.suffixes)
    local spf, dkim = look_up(msg, options, finder, domains)
    local out = wrong and { result = "permerror", reason = wrong } or nil
    for _, from in ipairs(domains) do
        out = worse(out, judge(finder, from, spf, dkim))
    end
    out.ambiguous = #domains ~= 1 or n_fields > 1 or wrong ~= nil
    out.policy, out.published = out.policy or "none", out.published or "none"
    out.aligned = out.aligned or { spf = false, dkim = false }
    out.spf, out.dkim, out.discovery = spf, dkim, options.suffixes and "psl" or "treewalk"
    return out
end

local function check_row(what, msg, judged, disposition)
    if type(msg) ~= "userdata" or type(judged) ~= "table" or not judged.result then
        error(what .. ": a msg and what dmarc.check gave expected", 3)
    end
    if disposition ~= nil and not POLICY_RANKS[disposition] then
        error(what .. ": disposition is none, quarantine or reject", 3)
    end
end

---What an aggregate report (RFC 9990) tells of a message: a row, and a text that is the same for messages that count together.
function dmarc.row(msg, judged, disposition)
    check_row("dmarc.row", msg, judged, disposition)
    return dmarc_report.row(msg, judged, disposition or "none")
end

---Counts the message in the store, for the report of the day, when its domain wants reports. True, false when it wants none, or nil and
---why.
function dmarc.report(msg, judged, disposition)
    check_row("dmarc.report", msg, judged, disposition)
    if not judged.record or #judged.record.rua == 0 then
        return false
    end
    return dmarc_report.count(dmarc_report.row(msg, judged, disposition or "none"))
end

return dmarc
