-- postern.internal.sql_places: where a server of PostgreSQL is, out of a connection string or a table of libpq's parameters; and its names
-- looked up by our resolver, since libpq would wait for the system's.

local address = require "postern.internal.address"
local host_of = require "postern.internal.host"
local internal = require "postern.internal.sql"

local places_of = {}

local HOSTS_MAX, PORT = 8, "5432"
local SOCKETS, CA_FILE, NO_FILE = "/var/run/postgresql", "/etc/ssl/certs/ca-certificates.crt", "/dev/null/none"

-- What would be read from files that nobody named here, would wait, or is said by options of ours.
local REFUSED = {
    service = "its file is not read", passfile = "password_file has the password", connect_timeout = "an option of sql.open has it",
    client_encoding = "it is UTF8", replication = "it speaks no SQL", gssencmode = "there is no Kerberos", krbsrvname = "there is no Kerberos",
    gsslib = "there is no Kerberos", load_balance_hosts = "hosts are asked in turn",
}

local KNOWN = {
    host = true, hostaddr = true, port = true, dbname = true, user = true, password = true, password_file = true, options = true,
    application_name = true, fallback_application_name = true, keepalives = true, keepalives_idle = true, keepalives_interval = true,
    keepalives_count = true, tcp_user_timeout = true, sslmode = true, sslcompression = true, sslcert = true, sslkey = true,
    sslpassword = true, sslrootcert = true, sslcrl = true, sslcrldir = true, sslsni = true, requirepeer = true,
    ssl_min_protocol_version = true, ssl_max_protocol_version = true, channel_binding = true, target_session_attrs = true,
}

local function check_one(name, value, level)
    if REFUSED[name] then
        error(("sql.open: postgres: %s is refused: %s"):format(name, REFUSED[name]), level + 1)
    elseif not KNOWN[name] then
        error(("sql.open: postgres: there is no parameter '%s'"):format(tostring(name)), level + 1)
    elseif math.type(value) ~= "integer" and (type(value) ~= "string" or value:find("\0", 1, true)) then
        error(("sql.open: postgres: %s is a text or an integer"):format(name), level + 1)
    end
end

-- Items of a list separated by commas; empty ones count.
local function split(text)
    local list = {}
    for item in (text .. ","):gmatch("([^,]*),") do
        list[#list + 1] = item
    end
    return list
end

local function is_path(host)
    return host:sub(1, 1) == "/" or host:sub(1, 1) == "@"
end

local function hosts_of(parameters, level)
    local hosts, addresses = split(parameters.host or ""), split(parameters.hostaddr or "")
    local ports, n = split(parameters.port or ""), math.max(#split(parameters.host or ""), #split(parameters.hostaddr or ""))
    local list = {}
    if n > HOSTS_MAX or (#ports ~= 1 and #ports ~= n) or (parameters.host and parameters.hostaddr and #hosts ~= #addresses) then
        error(("sql.open: postgres: up to %d hosts, and as many ports or one"):format(HOSTS_MAX), level + 1)
    end
    for i = 1, n do
        local host, addr, port = hosts[i] or "", addresses[i] or "", ports[#ports == 1 and 1 or i]
        if addr ~= "" and not address.bytes(addr) or port ~= "" and not port:find("^%d+$") then
            error("sql.open: postgres: hostaddr is an address, port a number", level + 1)
        end
        list[i] = { host = host == "" and addr == "" and SOCKETS or host, addr = addr, port = port == "" and PORT or port }
    end
    return list
end

---Reads what sql.open was given: { hosts = { … }, fixed = parameters of each connection, name = for logs }. Raises.
function places_of.read(given, level)
    local parameters, fixed = given, {}
    if type(given) == "string" then
        parameters = internal.conninfo(given)
        if not parameters then
            error("sql.open: postgres is no connection string", level + 1) -- no piece of it: it may hold a password
        end
    end
    for name, value in pairs(parameters) do
        check_one(name, value, level + 1)
        fixed[name] = tostring(value)
    end
    if fixed.password and fixed.password_file then
        error("sql.open: postgres: password or password_file", level + 1)
    end
    local place = { hosts = hosts_of(fixed, level + 1), fixed = fixed }
    local first = place.hosts[1]
    place.is_network = false
    for _, host in ipairs(place.hosts) do
        place.is_network = place.is_network or not is_path(host.host) or host.addr ~= ""
    end
    place.name = ("%s at %s"):format(fixed.dbname or fixed.user or "postgres", first.host ~= "" and first.host or first.addr)
    fixed.host, fixed.hostaddr, fixed.port = nil, nil, nil
    fixed.gssencmode, fixed.client_encoding, fixed.passfile = "disable", "UTF8", NO_FILE
    fixed.fallback_application_name = fixed.fallback_application_name or "postern"
    local verifies = fixed.sslmode == "verify-ca" or fixed.sslmode == "verify-full"
    fixed.sslrootcert = fixed.sslrootcert or verifies and CA_FILE or NO_FILE
    fixed.sslcert, fixed.sslkey = fixed.sslcert or NO_FILE, fixed.sslkey or NO_FILE
    fixed.sslcrl = fixed.sslcrl or NO_FILE
    return place
end

local function parameters_of(place, host, addr)
    local parameters = {}
    for name, value in pairs(place.fixed) do
        parameters[name] = value
    end
    parameters.host, parameters.hostaddr, parameters.port = host.host ~= "" and host.host or nil, addr, host.port
    return parameters
end

---What to connect with to one of its hosts, a table for each of its addresses; or nil and why.
function places_of.addresses(place, host, seconds)
    if host.addr ~= "" or is_path(host.host) then
        return { parameters_of(place, host, host.addr ~= "" and host.addr or nil) }
    end
    local list, why = host_of.addresses(host.host, seconds)
    if not list then
        return nil, ("dns %s: %s"):format(host.host, why or "the name has no address")
    end
    for i, addr in ipairs(list) do
        list[i] = parameters_of(place, host, addr)
    end
    return list
end

return places_of
