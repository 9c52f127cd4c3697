-- postern.internal.dmarc_report: what aggregate reports tell of one message (RFC 9990), as a flat row, so that rows can be counted.

local crypto = require "postern.internal.signature"
local store = require "postern.store"

local dmarc_report = {}

-- In order; what a row is made of and is told apart by.
dmarc_report.FIELDS = {
    "policy_domain", "p", "sp", "np", "adkim", "aspf", "testing", "discovery", "source_ip", "disposition", "dkim_aligned", "spf_aligned",
    "header_from", "envelope_from", "dkim", "spf_domain", "spf_scope", "spf_result",
}

local DAY, SIGNATURES_MAX, TEXT_MAX = 86400, 10, 255
local KEEP_SECS = 4 * DAY

-- "domain selector result" of each signature.
local function signatures_text(dkim)
    local out = {}
    for i, signature in ipairs(dkim.signatures or {}) do
        if i > SIGNATURES_MAX then
            break
        elseif signature.domain then
            out[#out + 1] = ("%s %s %s"):format(signature.domain, signature.selector, signature.result)
        end
    end
    return table.concat(out, ",")
end

local function clean(value)
    return (tostring(value or ""):sub(1, TEXT_MAX * SIGNATURES_MAX):gsub("[%c\127]", "?"))
end

---The row, and its text: fields in order, separated by tabs, after the day (UTC) and the policy's domain.
function dmarc_report.row(msg, judged, disposition)
    local record, spf = judged.record or {}, judged.spf or {}
    local row = {
        policy_domain = judged.record_domain, p = record.p, sp = record.sp, np = record.np, adkim = record.adkim, aspf = record.aspf,
        testing = record.testing and "y" or "n", discovery = judged.discovery, source_ip = spf.ip or msg.conn.ip,
        disposition = disposition, dkim_aligned = judged.aligned.dkim and "pass" or "fail",
        spf_aligned = judged.aligned.spf and "pass" or "fail",
        header_from = judged.domain, envelope_from = msg.sender_domain, dkim = signatures_text(judged.dkim or {}),
        spf_domain = spf.domain, spf_scope = spf.identity == "helo" and "helo" or "mfrom", spf_result = spf.result,
    }
    local out = {}
    for i, name in ipairs(dmarc_report.FIELDS) do
        row[name] = clean(row[name])
        out[i] = row[name]
    end
    row.rua = record.rua
    row.day = os.time() // DAY * DAY
    return row, ("%d\t%s"):format(row.day, table.concat(out, "\t"))
end

---Adds one to the count of such rows in the store: "dmarc/DAY/DOMAIN/HASH" holds { n =, row = }, for three days after its own.
function dmarc_report.count(row, text)
    local hash = crypto.hash(text):sub(1, 16):gsub(".", function(byte)
        return ("%02x"):format(byte:byte())
    end)
    local key = ("dmarc/%d/%s/%s"):format(row.day, row.policy_domain, hash)
    local value, why = store.update(key, function(known)
        return { n = (known and known.n or 0) + 1, row = row }, KEEP_SECS
    end)
    if not value then
        return nil, why
    end
    return true
end

return dmarc_report
