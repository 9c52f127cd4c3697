-- dkim-sign.lua: signs the mail of our own users with DKIM, as it leaves.
--
-- Mail is signed when its sender is trusted (local, authenticated, in worker.trusted_networks) and the domain in From is one of
-- ours, or below one; the signature is of that domain of ours. Settings in [filter]:
--   dkim_domains    our domains, separated by commas or blanks; none: nothing is signed
--   dkim_key        file of the private key, RSA or Ed25519, in PEM, mode 0600 or 0640; it must lie in worker.read_paths
--   dkim_selector   where the public key stands in DNS: SELECTOR._domainkey.DOMAIN

local dkim = require "postern.dkim"

local domains = {}
for name in (config.dkim_domains or ""):gmatch("[^%s,]+") do
    domains[#domains + 1] = name:lower()
end
local function setting(name)
    local value = config[name]
    return value ~= "" and value or nil
end

local selector = setting("dkim_selector")
local key = #domains > 0 and assert(dkim.key(assert(setting("dkim_key"), "dkim_key is not set")))
assert(not key or selector, "dkim_selector is not set")

-- The domain of ours that a mail is from, or nil: the one address in the one From field decides.
local function domain_of(msg)
    local fields = msg:headers("From")
    local name = #fields == 1 and fields[1]:lower():match("^[^@]*@([%w%-.]+)[^@]*$")
    for _, ours in ipairs(domains) do
        if name and (name == ours or name:sub(-#ours - 1) == "." .. ours) then
            return ours
        end
    end
end

function filter_message(msg)
    local domain = key and msg.direction == "out" and domain_of(msg)
    if domain then
        dkim.sign(msg, { key = key, domain = domain, selector = tostring(selector) })
    end
end
