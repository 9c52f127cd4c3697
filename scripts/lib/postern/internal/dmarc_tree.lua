-- postern.internal.dmarc_tree: organizational domains and the records that apply, by the tree walk of RFC 9989 section 4.10, or by the
-- list of public suffixes as RFC 7489 had it.
--
-- A finder lives as long as one check: what was asked is not asked again.

local dmarc_record = require "postern.internal.dmarc_record"
local domain = require "postern.internal.domain"

local dmarc_tree = {}

local QUERIES_MAX = 8

-- The record of a name: nil when there is none, or several. failure, as second, when DNS failed.
local function record_at(finder, name)
    local known = finder.records[name]
    if known == nil then
        local texts, err = finder.dns.query("_dmarc." .. name, "TXT")
        if not texts then
            return nil, ("DNS: _dmarc.%s: %s"):format(name, err)
        end
        known = false
        for _, text in ipairs(texts) do
            local record = dmarc_record.read(text)
            if record and known then
                known = false
                break
            end
            known = record or known
        end
        finder.records[name] = known
    end
    return known or nil
end

-- The names that a walk looks at: the whole one, then at most seven labels of it, and up.
local function names_of(labels)
    local names = { table.concat(labels, ".") }
    for n = math.min(#labels - 1, QUERIES_MAX - 1), 1, -1 do
        names[#names + 1] = domain.tail(labels, n)
    end
    return names
end

-- Walks up from a name: { { name =, record = }, … } from below; or nil and why.
local function walk(finder, labels)
    local found = {}
    for _, name in ipairs(names_of(labels)) do
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
        local record, failure = record_at(finder, candidate)
        if failure then
            return nil, nil, nil, failure
        elseif record then
            return record, candidate, org
        end
    end
    return nil, nil, org
end

---suffixes: nil for the tree walk, or a list of postern.internal.suffixes.
function dmarc_tree.new(suffixes)
    local ways = suffixes and suffix or tree
    return { dns = require "postern.dns", records = {}, suffixes = suffixes, organizational = ways.organizational, find = ways.find }
end

return dmarc_tree
