-- postern.internal.spf_check: check_host of RFC 7208 section 4: one domain's record judged, with all it includes.
--
-- A check is a table with the client, the sender, and the counts of section 4.6.4, which hold for all records together.
-- Functions that judge return a result, and why.

local address = require "postern.internal.address"
local domain = require "postern.internal.domain"
local macro = require "postern.internal.spf_macro"
local record = require "postern.internal.spf_record"
local together = require "postern.internal.together"

local spf_check = {}

local TERMS_MAX, VOID_MAX, HOSTS_MAX = 10, 2, 10
local EXPLANATION_MAX = 500
local TOO_MANY_VOID = "too many look-ups find nothing"

-- ---- DNS ----

-- What DNS says of a name: { found = a list }, or { err = why }.
local function ask(check, name, kind)
    if not domain.is_name(name) then
        return { found = {}, is_not_asked = true }
    end
    local found, err = check.dns.query(name, kind)
    return { found = found, err = err }
end

-- The same for several names at the same time.
local function ask_all(check, names, kind)
    return together.map(names, function(name) return ask(check, name, kind) end)
end

-- An answer of a term: one that finds nothing counts. Nil, result, why when it failed or there were too many.
local function take(check, answer, name, kind)
    local found = answer.found
    if answer.is_not_asked then
        return found
    elseif not found and answer.err:find("^formerr: no domain name") then
        found = {} -- a macro may put anything into a name; the resolver asks for less
    elseif not found then
        return nil, "temperror", ("DNS: %s %s: %s"):format(name, kind, answer.err)
    end
    if #found == 0 then
        check.n_void = check.n_void + 1
        if check.n_void > VOID_MAX then
            return nil, "permerror", TOO_MANY_VOID
        end
    end
    return found
end

local function query(check, name, kind)
    return take(check, ask(check, name, kind), name, kind)
end

local function address_type(check)
    return #check.ip_bytes == 4 and "A" or "AAAA"
end

local function has_prefix(bytes, network, length)
    local whole = length // 8
    if #bytes ~= #network or bytes:sub(1, whole) ~= network:sub(1, whole) then
        return false
    end
    local shift = 8 - length % 8
    return shift == 8 or bytes:byte(whole + 1) >> shift == network:byte(whole + 1) >> shift
end

local function any_matches(check, addresses, mechanism)
    for _, text in ipairs(addresses) do
        local bytes = address.bytes(text)
        local length = bytes and (#bytes == 4 and mechanism.length4 or mechanism.length6)
        if bytes and has_prefix(check.ip_bytes, bytes, length) then
            return true
        end
    end
    return false
end

-- ---- the names of the client ----

-- Names of the address that lead back to it (section 5.5). An answer that fails is none.
local function validated_names(check)
    if check.names then
        return check.names
    end
    check.names = {}
    local found = check.dns.query(address.reverse(check.ip_bytes), "PTR")
    check.has_no_names = found ~= nil and #found == 0
    local names = {}
    for i = 1, math.min(found and #found or 0, HOSTS_MAX) do
        names[i] = domain.normal(found[i])
    end
    for i, answer in ipairs(ask_all(check, names, address_type(check))) do
        if any_matches(check, answer.found or {}, { length4 = 32, length6 = 128 }) then
            check.names[#check.names + 1] = names[i]
        end
    end
    return check.names
end

-- The same for a term: each that finds no name counts, also when it was asked for before. Addresses of these names do not count: who has
-- the client's address would turn a fail into an error with them.
local function take_names(check)
    local names = validated_names(check)
    check.n_void = check.n_void + (check.has_no_names and 1 or 0)
    return names
end

-- For the macro p: the domain itself before its subdomains before any other.
local function validated_name(check, name)
    local names, within = take_names(check), nil
    for _, candidate in ipairs(names) do
        if candidate == name then
            return candidate
        end
        within = within or (domain.is_within(candidate, name) and candidate)
    end
    return within or names[1]
end

-- ---- mechanisms: true when it matches, false, or nil, result, why ----

local check_host

local function target_of(check, mechanism, name)
    return mechanism.domain and macro.expand_domain(mechanism.domain, check, name) or name
end

local mechanisms = {}

function mechanisms.all()
    return true
end

function mechanisms.ip4(check, mechanism)
    return has_prefix(check.ip_bytes, mechanism.network, mechanism.length)
end
mechanisms.ip6 = mechanisms.ip4

function mechanisms.include(check, mechanism, name)
    local result, why = check_host(check, target_of(check, mechanism, name))
    if result == "pass" then
        return true
    elseif result == "temperror" or result == "permerror" then
        return nil, result, why
    elseif result == "none" then
        return nil, "permerror", "an included domain has no record"
    end
    return false
end

function mechanisms.a(check, mechanism, name)
    local found, result, why = query(check, target_of(check, mechanism, name), address_type(check))
    if not found then
        return nil, result, why
    end
    return any_matches(check, found, mechanism)
end

function mechanisms.mx(check, mechanism, name)
    local found, result, why = query(check, target_of(check, mechanism, name), "MX")
    if not found then
        return nil, result, why
    end
    if #found > HOSTS_MAX then
        return nil, "permerror", "too many mail servers"
    end
    local hosts, kind = {}, address_type(check)
    for i, mx in ipairs(found) do
        hosts[i] = domain.normal(mx.exchange)
    end
    for i, answer in ipairs(ask_all(check, hosts, kind)) do -- asked at the same time; they count and match in their order
        local addresses
        addresses, result, why = take(check, answer, hosts[i], kind)
        if not addresses then
            return nil, result, why
        end
        if any_matches(check, addresses, mechanism) then
            return true
        end
    end
    return false
end

function mechanisms.ptr(check, mechanism, name)
    local target = target_of(check, mechanism, name)
    local names = take_names(check)
    if check.n_void > VOID_MAX then
        return nil, "permerror", TOO_MANY_VOID
    end
    for _, candidate in ipairs(names) do
        if domain.is_within(candidate, target) then
            return true
        end
    end
    return false
end

function mechanisms.exists(check, mechanism, name)
    local found, result, why = query(check, target_of(check, mechanism, name), "A")
    if not found then
        return nil, result, why
    end
    return #found > 0
end

local ASKS = { include = true, a = true, mx = true, ptr = true, exists = true }

-- ---- a record ----

local function has_a_term_left(check)
    check.n_terms = check.n_terms + 1
    return check.n_terms <= TERMS_MAX
end

local function judge(check, mechanism, name)
    if ASKS[mechanism.name] and not has_a_term_left(check) then
        return nil, "permerror", "too many terms ask DNS"
    elseif mechanism.domain and check.sender_local:find("[\128-\255]") and macro.names_sender(mechanism.domain) then
        return false -- RFC 8616 section 4: no local part outside ASCII matches
    end
    return mechanisms[mechanism.name](check, mechanism, name)
end

-- The record of a domain, or nil, result, why.
local function find_record(check, name)
    if not domain.is_host(name) then
        return nil, "none", "no domain name"
    end
    local texts, err = check.dns.query(name, "TXT")
    if not texts then
        return nil, "temperror", ("DNS: %s TXT: %s"):format(name, err)
    end
    local found
    for _, text in ipairs(texts) do
        if record.is_spf(text) then
            if found then
                return nil, "permerror", "several records"
            end
            found = text
        end
    end
    if not found then
        return nil, "none", "no record"
    end
    local terms, wrong = record.read(found)
    if not terms then
        return nil, "permerror", ("a wrong term: %s"):format(wrong:gsub("[^ -~]", "?"):sub(1, 100))
    end
    return terms
end

local function redirected(check, terms, name)
    if not has_a_term_left(check) then
        return "permerror", "too many terms ask DNS"
    end
    local result, why, found = check_host(check, macro.expand_domain(terms.redirect, check, name))
    if result == "none" then
        return "permerror", "redirect leads to no record"
    end
    return result, why, found
end

-- Result, why, and for a match the record and the domain that it is of.
function check_host(check, name)
    local terms, result, why = find_record(check, name)
    if not terms then
        return result, why
    end
    for _, mechanism in ipairs(terms) do
        local matches
        matches, result, why = judge(check, mechanism, name)
        if matches == nil then
            return result, why
        elseif matches then
            return mechanism.result, mechanism.text, { terms = terms, name = name }
        end
    end
    if terms.redirect then
        return redirected(check, terms, name)
    end
    return "neutral", "no mechanism matches"
end

-- What the domain says of a fail (section 6.2); nil when it says nothing that can be shown.
local function explain(check, found)
    local name = found.terms.exp and macro.expand_domain(found.terms.exp, check, found.name)
    local texts = name and domain.is_name(name) and check.dns.query(name, "TXT")
    local pieces = texts and #texts == 1 and #texts[1] <= EXPLANATION_MAX and macro.read(texts[1], true)
    local text = pieces and macro.expand(pieces, check, found.name)
    return text and #text <= EXPLANATION_MAX and not text:find("[^ -~]") and text or nil
end

---Judges `name`. check: ip_bytes, ip, helo, sender_local, sender_domain, receiver, dns.
---Returns result, why, explanation.
function spf_check.run(check, name)
    check.n_terms, check.n_void, check.validated_name = 0, 0, validated_name
    local result, why, found = check_host(check, name)
    return result, why, result == "fail" and found and explain(check, found) or nil
end

return spf_check
