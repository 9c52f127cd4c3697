-- postern.internal.punycode: names with letters outside ASCII as DNS has them (RFC 3492).

local idn_fold = require "postern.internal.idn_fold"

local punycode = {}

local BASE, T_MIN, T_MAX, SKEW, DAMP, BIAS, FIRST = 36, 1, 26, 38, 700, 72, 128
local LABEL_MAX = 63

local function digit(d)
    return string.char(d < 26 and 97 + d or 22 + d)
end

local function adapt(delta, n_points, is_first)
    delta = is_first and delta // DAMP or delta // 2
    delta = delta + delta // n_points
    local k = 0
    while delta > ((BASE - T_MIN) * T_MAX) // 2 do
        delta = delta // (BASE - T_MIN)
        k = k + BASE
    end
    return k + (BASE - T_MIN + 1) * delta // (delta + SKEW)
end

local function put_number(out, delta, bias)
    local q, k = delta, BASE
    while true do
        local t = math.max(T_MIN, math.min(T_MAX, k - bias))
        if q < t then
            out[#out + 1] = digit(q)
            return
        end
        out[#out + 1] = digit(t + (q - t) % (BASE - t))
        q, k = (q - t) // (BASE - t), k + BASE
    end
end

local function next_point(points, n)
    local least = math.huge
    for _, point in ipairs(points) do
        least = point >= n and math.min(least, point) or least
    end
    return least
end

local function encode(points)
    local out = {}
    for _, point in ipairs(points) do
        if point < FIRST then
            out[#out + 1] = string.char(point)
        end
    end
    local n_basic, n, delta, bias = #out, FIRST, 0, BIAS
    local handled = n_basic
    if n_basic > 0 then
        out[#out + 1] = "-"
    end
    while handled < #points do
        local least = next_point(points, n)
        delta, n = delta + (least - n) * (handled + 1), least
        for _, point in ipairs(points) do
            if point < n then
                delta = delta + 1
            elseif point == n then
                put_number(out, delta, bias)
                bias, delta, handled = adapt(delta, handled + 1, handled == n_basic), 0, handled + 1
            end
        end
        delta, n = delta + 1, n + 1
    end
    return "xn--" .. table.concat(out)
end

local function label_to_ascii(label)
    if not label:find("[\128-\255]") then
        return label
    end
    local n = utf8.len(label)
    if not n or n > LABEL_MAX then
        return nil
    end
    return encode({ utf8.codepoint(label, 1, -1) })
end

---A domain in ASCII and lower case, or nil when it is not UTF-8.
function punycode.domain(name)
    local labels = {}
    name = idn_fold.name(name)
    if not name then
        return nil
    end
    for label in (name .. "."):gmatch("([^.]*)%.") do
        local ascii = label_to_ascii(label)
        if not ascii then
            return nil
        end
        labels[#labels + 1] = ascii
    end
    return table.concat(labels, ".")
end

return punycode
