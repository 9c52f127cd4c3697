-- postern.internal.domain: domain names as DNS takes them. Names come from mail and from DNS: anything may stand in them.

local domain = {}

domain.NAME_MAX, domain.LABEL_MAX = 253, 63

---In lower case, without the dot at the end.
function domain.normal(name)
    return (name:lower():gsub("%.$", ""))
end

---Labels in order, or nil when the name is empty, too long, or has a label that is empty or too long.
function domain.labels(name)
    if name == "" or #name > domain.NAME_MAX or name:find("..", 1, true) or name:byte() == 46 then
        return nil
    end
    local labels = {}
    for label in name:gmatch("[^.]+") do
        if #label > domain.LABEL_MAX then
            return nil
        end
        labels[#labels + 1] = label
    end
    return labels
end

---Whether a query for it makes sense: labels of printable ASCII. A space may stand in one (RFC 7208 has a macro for it), no backslash.
function domain.is_name(name)
    return not name:find("[^ -~]") and not name:find("\\", 1, true) and domain.labels(name) ~= nil
end

---Whether it has two labels at least of letters, digits, hyphens and underscores: a domain that mail can come from.
function domain.is_host(name)
    local labels = not name:find("[^%w%-_.]") and domain.labels(name)
    return labels and #labels > 1 or false
end

---Whether name is base or stands below it. Both as domain.normal gives them.
function domain.is_within(name, base)
    return name == base or name:sub(-#base - 1) == "." .. base
end

---The last n labels.
function domain.tail(labels, n)
    return table.concat(labels, ".", math.max(1, #labels - n + 1))
end

return domain
