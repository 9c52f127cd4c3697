-- postern.internal.dmarc_tree: organizational domains and the records that apply, by the tree walk of RFC 9989 section 4.10, or by the
-- list of public suffixes as RFC 7489 had it.
--
-- A finder lives as long as one check: what was asked is not asked again.

local dmarc_record = require "postern.internal.dmarc_record"
local domain = require "postern.internal.domain"
local together = require "postern.internal.together"

local dmarc_tree = {}

local QUERIES_MAX = 8

-- What is found at a name: { record = nil when there is none, or several; are_several = }, or { failure = why DNS did not tell }.
local function ask(finder, name)
    local texts, err = finder.dns.query("_dmarc." .. name, "TXT")
    if not texts then
        return { failure = ("DNS: _dmarc.%s: %s"):format(name, err) }
    end
    local found = {}
    for _, text in ipairs(texts) do
        local record = dmarc_record.read(text)
        if record and found.record then
            return { are_several = true }
        end
        found.record = record or found.record
    end
    return found
end

-- The record of a name, or nil. failure, as second, when DNS failed; as third, whether there are several.
local function record_at(finder, name)
    local known = finder.known[name]
    if not known then
        known = ask(finder, name)
        finder.known[name] = known
    end
    return known.record, known.failure, known.are_several
end

-- Those of the names that are not known yet, at the same time.
local function ask_all(finder, names)
    local unknown = {}
    for _, name in ipairs(names) do
        if not finder.known[name] then
            unknown[#unknown + 1] = name
        end
    end
    together.map(unknown, function(name)
        finder.known[name] = ask(finder, name)
        return true
    end)
end

-- The names that a walk looks at: the whole one, then at most seven labels of it, and up.
local function names_of(labels)
    local names = { table.concat(labels, ".") }
    for n = math.min(#labels - 1, QUERIES_MAX - 1), 1, -1 do
        names[#names + 1] = domain.tail(labels, n)
    end
    return names
end

-- Walks up from a name: { { name =, record = }, … } from below; or nil and why. A walk ends early only at a record with psd=y or psd=n,
-- which hardly any domain has: so the whole way is asked about at the same time.
local function walk(finder, labels)
    local found, names = {}, names_of(labels)
    ask_all(finder, names)
    for _, name in ipairs(names) do
        local record, failure = record_at(finder, name)
        -- A top-level domain that does not answer is no reason to judge nothing: its record could only make domains smaller.
        if failure and (#found == 0 or name:find(".", 1, true)) then
            return nil, failure
        end
        if record then
            found[#found + 1] = { name = name, record = record }
            if record.psd ~= "u" then
                break
            end
        end
    end
    return found
end

-- Section 4.10.2.
local function organizational_of(name, labels, found)
    local last = found[#found]
    if not last then
        return name
    end
    if last.record.psd == "y" and last.name ~= name then
        local _, dots = last.name:gsub("%.", "")
        return domain.tail(labels, dots + 2)
    end
    return last.name
end

local tree = {}

---The organizational domain of a name; or nil and why.
function tree.organizational(finder, name)
    local labels = domain.labels(name)
    local found, failure = walk(finder, labels)
    if not found then
        return nil, failure
    end
    return organizational_of(name, labels, found), nil, found
end

---The record for a name: record, its domain, the organizational domain; record nil: none; or nil, nil, nil and why.
function tree.find(finder, name)
    local org, failure, found = tree.organizational(finder, name)
    if not org then
        return nil, nil, nil, failure
    end
    local chosen
    for _, entry in ipairs(found) do
        if entry.name == name then
            return entry.record, name, org
        elseif entry.name == org or (entry.record.psd == "y" and not chosen) then
            chosen = entry
        end
    end
    return chosen and chosen.record, chosen and chosen.name, org
end

local suffix = {}

function suffix.organizational(finder, name)
    return finder.suffixes:organizational(name)
end

function suffix.find(finder, name)
    local org = suffix.organizational(finder, name)
    for _, candidate in ipairs{ name, org } do
        local record, failure, are_several = record_at(finder, candidate)
        if failure then
            return nil, nil, nil, failure
        elseif record then
            return record, candidate, org
        elseif are_several then
            break -- RFC 7489 section 6.6.3, step 5: they end the search; the tree walk goes on
        end
    end
    return nil, nil, org
end

---suffixes: nil for the tree walk, or a list of postern.internal.suffixes.
function dmarc_tree.new(suffixes)
    local ways = suffixes and suffix or tree
    return { dns = require "postern.dns", known = {}, suffixes = suffixes, organizational = ways.organizational, find = ways.find }
end

return dmarc_tree
