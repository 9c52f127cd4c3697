-- arc-seal.lua: seals mail from outside with ARC, so that whoever gets it from us knows what we found before it was changed.
--
-- For servers that forward mail or put notes into it, which breaks the signatures of its senders. Signatures and chain are checked as
-- the mail came, and sealed as it leaves; Authentication-Results fields that claim to be ours go. Mail of our own users is not sealed:
-- sign it. Needs worker.allow_network. Settings in [filter]:
--   arc_domain     our domain; none: nothing is sealed
--   arc_key        file of the private key, as for DKIM; it must lie in worker.read_paths
--   arc_selector   where the public key stands in DNS: SELECTOR._domainkey.DOMAIN
--   arc_note       a text put below the mail; none: it is left as it is

local arc = require "postern.arc"
local authres = require "postern.authres"
local dkim = require "postern.dkim"
local dmarc = require "postern.dmarc"
local spf = require "postern.spf"

local function setting(name)
    local value = config[name]
    return value ~= "" and value or nil
end

local domain, selector, note = setting("arc_domain"), setting("arc_selector"), setting("arc_note")
local key = domain and assert(dkim.key(assert(setting("arc_key"), "arc_key is not set")))
assert(not key or selector, "arc_selector is not set")

function filter_message(msg)
    if not key or msg.direction == "out" then
        return
    end
    local found = { spf = spf.check(msg), dkim = dkim.verify(msg) }
    found.dmarc = dmarc.check(msg, found)
    found.arc = arc.verify(msg)
    found.key, found.domain, found.selector = key, domain, tostring(selector)
    msg:log("arc", found.arc.result)
    authres.remove(msg) -- who trusts our seal may trust these too
    if note then
        msg:append_text("\n-- \n" .. note .. "\n")
    end
    arc.seal(msg, found)
end
