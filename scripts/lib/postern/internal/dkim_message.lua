-- postern.internal.dkim_message: a message as signatures see it: its fields by name, their canonical forms, hashes of its body.
-- Nothing is computed twice for several signatures.

local signature = require "postern.internal.signature"

local message = {}
message.__index = message

local BODIES_MAX = 12 -- each is a pass over the body that a stranger orders

---leaving: as it would leave, with the changes asked for; else as received.
function message.new(msg, leaving)
    local names, fields = signature.fields(msg, leaving)
    local by_name = {}
    for i, name in ipairs(names) do
        local list = by_name[name]
        if not list then
            list = {}
            by_name[name] = list
        end
        list[#list + 1] = i
    end
    return setmetatable({ msg = msg, leaving = leaving, names = names, fields = fields, by_name = by_name,
                          canonical = { simple = {}, relaxed = {} }, bodies = {}, n_bodies = 0 }, message)
end

---How many fields of that name, in lower case, there are.
function message:count(name)
    return self.by_name[name] and #self.by_name[name] or 0
end

---The value of a field by its number: what stands behind the colon.
function message:value(i)
    return self.fields[i]:match("^[^:]*:(.*)$") or ""
end

---Field number i in canonical form, with its line end.
function message:canonical_field(i, canon)
    local cache = self.canonical[canon]
    local text = cache[i]
    if not text then
        text = signature.canon(self.fields[i], canon)
        cache[i] = text
    end
    return text
end

---What a signature over the fields of these names is of (RFC 6376 section 5.4.2): each name takes the lowest field of that name
---that is left; field `own` is not among them.
function message:signed_fields(names, canon, own)
    local left, out = {}, {}
    for _, name in ipairs(names) do
        local list = self.by_name[name]
        local n = left[name] or (list and #list or 0)
        if n > 0 and list[n] == own then
            n = n - 1
        end
        if n > 0 then
            out[#out + 1] = self:canonical_field(list[n], canon)
        end
        left[name] = n - 1
    end
    return table.concat(out)
end

---A signature's own field, with an empty b=: the last thing that is signed, without its line end.
function message.own_field(field, canon)
    return signature.canon(field, canon):sub(1, -3)
end

---Hash of the body, and the length of its canonical form; nil when it was hashed in too many ways already.
function message:body_hash(canon, limit)
    local key = canon .. (limit or "")
    local known = self.bodies[key]
    if not known then
        if self.n_bodies == BODIES_MAX then
            return nil
        end
        known = { signature.body_hash(self.msg, canon, limit, self.leaving) }
        self.bodies[key], self.n_bodies = known, self.n_bodies + 1
    end
    return known[1], known[2]
end

return message
