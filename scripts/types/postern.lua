---@meta
-- What a Postern filter may use, for editors with a Lua language server: put this folder into its library path
-- (its workspace library). postern-filter(5) and the pages of the modules,
-- postern-spf(3) and so on, are the reference; nothing here is ever run.

-- Verdicts ----------------------------------------------------------------------------------------

---What accept, continue, reject, tempfail and discard make: a hook returns it.
---@class postern.verdict

---@class postern.reply
---@field text? string lines separated by line feeds; other control characters become spaces, what is too long is cut
---@field code? integer 5yz for reject, 4yz for tempfail
---@field dsn? string enhanced status code: "5.7.1"
---@field delay? number seconds that the client waits for the answer

---@class postern.discard_options
---@field whole_message? boolean in filter_recipient: the message, not the recipient

---Take it, without further filtering.
---@return postern.verdict
function accept() end

---Go on; the same as returning nothing.
---@return postern.verdict
function continue() end

---Refuse it for good (5xx).
---@param reply? string|postern.reply
---@return postern.verdict
function reject(reply) end

---Refuse it for now (4xx).
---@param reply? string|postern.reply
---@return postern.verdict
function tempfail(reply) end

---Take it and throw it away silently.
---@param options? postern.discard_options
---@return postern.verdict
function discard(options) end

---The [filter] section of the configuration; read-only.
---@type table<string, string|integer|boolean>
config = {}

-- Objects -----------------------------------------------------------------------------------------

---Macros of the mail server by name, with or without braces; nil for one that was not told.
---@alias postern.macros table<string, string>

---nil, booleans, numbers, strings, and tables of these; at most 32 KiB.
---@alias postern.state table<string|integer, any>

---ESMTP arguments, keys in upper case.
---@alias postern.args table<string, string|true>

---@class postern.tls
---@field version string
---@field cipher string
---@field bits integer
---@field verify string
---@field subject string
---@field issuer string

---@class postern.auth
---@field user string
---@field mech string
---@field author string

---@class postern.origin
---@field ip? string
---@field helo string
---@field hostname string

---The client and its connection.
---@class postern.conn
---@field id string our name for the connection
---@field ip? string nil when there is none
---@field port? integer
---@field hostname string verified, or ""
---@field ptr string unverified, or ""
---@field rdns "ok"|"forged"|"fail"|"temp"
---@field helo string from filter_helo on
---@field local_ip string
---@field local_port? integer
---@field daemon string
---@field mta "sendmail"|"postfix"|"?"
---@field tls? postern.tls
---@field auth? postern.auth
---@field macros postern.macros
---@field is_local boolean submitted on this machine
---@field is_trusted boolean local, authenticated, or in worker.trusted_networks
---@field origin postern.origin the first relay outside worker.trusted_relays
---@field state postern.state shared by all hooks of the connection
local conn = {}

---Whether the client is in one of these addresses or networks.
---@param network string "192.0.2.0/24"
---@param ... string
---@return boolean
function conn:in_network(network, ...) end

---A recipient.
---@class postern.rcpt
---@field address string without angle brackets
---@field domain string in lower case
---@field localpart string
---@field args postern.args
---@field mailer string
---@field host string
---@field user string
---@field macros postern.macros
local rcpt = {}

---Whether the address fits "user@domain", "@domain", "@.domain" (subdomains), "user@" or "domain".
---@param patterns string|string[]
---@return boolean
function rcpt:matches(patterns) end

---@class postern.defect
---@field kind string
---@field part? postern.part nil: the message
---@field detail string
---@field ambiguous boolean could hide content from some program

---@class postern.append_options
---@field force? boolean also signed and encrypted mail
---@field once? boolean|string|string[] not when the text, or one of these markers, is there already

---The message being received.
---@class postern.msg
---@field conn postern.conn
---@field uid string our name for the message
---@field id? string the mail server's queue id
---@field attempt integer 1, or 2 when the first worker died
---@field sender string "" for the null sender
---@field sender_domain string in lower case
---@field sender_local string
---@field sender_args postern.args
---@field direction "in"|"out"
---@field is_split boolean a copy that msg:split has made; from filter_headers on
---@field recipients postern.rcpt[] from filter_recipient on; a new list at each read
---@field macros postern.macros
---@field state postern.state shared by all hooks of the message
---@field size integer filter_message
---@field subject string from filter_headers on
---@field message_id string from filter_headers on
---@field root postern.part filter_message
---@field defects postern.defect[] filter_message
---@field ambiguous boolean filter_message
local msg = {}

---The first value of that name, decoded.
---@param name string
---@return string?
function msg:header(name) end

---All values of that name, decoded.
---@param name string
---@return string[]
function msg:headers(name) end

---The first value of that name as received.
---@param name string
---@return string?
function msg:raw_header(name) end

---@return fun(): string, string
function msg:each_header() end

---Adds a field at the end.
---@param name string
---@param value string
function msg:add_header(name, value) end

---Inserts a field; 0 is the top.
---@param index integer
---@param name string
---@param value string
function msg:insert_header(index, name, value) end

---Changes the nth field of that name (the first), or adds one.
---@param name string
---@param value string
---@param nth? integer
function msg:set_header(name, value, nth) end

---Deletes the nth field of that name, or all of them.
---@param name string
---@param nth? integer
function msg:delete_header(name, nth) end

---@param address string
---@param args? postern.args|string
function msg:set_sender(address, args) end

---@param address string
---@param args? postern.args|string
function msg:add_recipient(address, args) end

---False when the message has no such recipient.
---@param recipient postern.rcpt|string
---@return boolean
function msg:delete_recipient(recipient) end

---At our edge: tells the servers behind it of conn.origin, signed with worker.origin_key.
---@return boolean
function msg:mark_origin() end

---One copy for each recipient or domain, over smtp.reinject: the verdict to return; nil when there is one group.
---@param options { by: "recipient"|"domain" }
---@return postern.verdict?
function msg:split(options) end

---The mail server's own quarantine.
---@param reason string one line; what does not fit becomes spaces or is cut
function msg:hold(reason) end

---@param bytes string
function msg:replace_body(bytes) end

---Puts text at the end of what a person reads, in every alternative; true, or false and why it was not done.
---@param text string UTF-8
---@param options? postern.append_options
---@return boolean done
---@return string? why "signed", "encrypted", "no text part", "already there", "ambiguous", "encoding", "charset" …
function msg:append_text(text, options) end

---The same for HTML alternatives; next to append_text it is that text's other form.
---@param html string UTF-8
---@param options? postern.append_options
---@return boolean done
---@return string? why
function msg:append_html(html, options) end

---Adds a part, a message/rfc822 too, behind all others or at its position.
---A message that is no multipart/mixed becomes one.
---@param entity postern.added_entity
function msg:add_part(entity) end

---Another message instead of this one: its header, but for the order of fields, and its body.
---@param eml string
function msg:replace_message(eml) end

---A pair for the message's log line; false when it is full.
---@param key string
---@param value any
---@return boolean
function msg:log(key, value) end

---@class postern.notice
---@field subject string one line
---@field text string
---@field virus? boolean the sender is told nothing

---A mail to notify.admin, once for each mail, when the hook has ended well.
---@param notice postern.notice
---@return boolean
---@return string? why
function msg:notify_admin(notice) end

---The same to the sender; not to the null sender, lists, programs, or after a virus.
---@param notice postern.notice
---@return boolean
---@return string? why
function msg:notify_sender(notice) end

---@class postern.trap
---@field mode? "copy"|"store"|"defer" a copy while the mail goes on; nobody gets it; a tempfail until a person decides
---@field reason? string one line

---Keeps the message as received, when the hook has ended well; false and "released" for mail released from there.
---@param options? postern.trap
---@return boolean
---@return string? why
function msg:trap(options) end

---The message as received.
---@return string
function msg:raw() end

---@return string
function msg:raw_headers() end

---@return string
function msg:raw_body() end

---The message as it would leave.
---@return string
function msg:to_eml() end

---The text that a person would read.
---@return string
function msg:text() end

---The parts that have content.
---@return fun(): postern.part
function msg:parts() end

---All parts, containers too.
---@return fun(): postern.part
function msg:walk() end

---@return string[]
function msg:urls() end

---@return string[]
function msg:charsets() end

---A part of the message.
---@class postern.entity
---@field type? string "text/plain" by default; no multipart and no message
---@field body string decoded; in text/... a line end may be "\n"
---@field charset? string that body is in; "utf-8" by default
---@field filename? string
---@field inline? boolean Content-Disposition: inline instead of attachment

---@class postern.added_entity: postern.entity
---@field position? integer before this part of the top multipart, from 1; behind all others by default

---@class postern.part
---@field type string "application/zip"
---@field params table<string, string>
---@field charset string
---@field encoding string
---@field disposition string
---@field content_id string
---@field filename? string what a mail reader would show
---@field filenames string[] what any mail reader could derive
---@field extension string of filename; for display
---@field size integer decoded
---@field path string "1.2"
---@field depth integer
---@field parent? postern.part
---@field is_container boolean
---@field is_signed boolean
---@field is_encrypted boolean
---@field detected_type string from the content itself, or ""
local part = {}

---@param name string
---@return string?
function part:header(name) end

---The decoded content as bytes.
---@param from? integer
---@param length? integer
---@return string
function part:content(from, length) end

---@return string
function part:text() end

---@param name? "sha256"|"sha1"|"md5"|"sha384"|"sha512"
---@return string
function part:hash(name) end

---What is in an archive, archives in it too; nil, why, and what could be listed.
---@return postern.entry[]?
---@return string? why
---@return postern.entry[]? some
function part:entries() end

---Whether any of the part's names has one of these extensions; with archives, those in it as well.
---@param extensions string|string[]
---@param options? postern.name_options
---@return boolean
---@return "unreadable"|"too many names"? why
function part:has_extension(extensions, options) end

---Whether a regular expression (PCRE2, caseless) is found in any of the part's names; with archives, those in
---it as well.
---@param pattern string
---@param options? postern.name_options
---@return boolean
---@return "unreadable"|"too many names"? why
function part:name_matches(pattern, options) end

---Writes the decoded content into a file, at once.
---@param path string
---@return true?
---@return string? why
function part:save(path) end

---Keeps the decoded content, when the hook has ended well; as msg:trap.
---@param reason? string one line
---@return boolean
---@return string? why
function part:trap(reason) end

---A text/html part becomes text/plain with its text; beside a plain alternative it is taken out.
---@return boolean done false when it is no HTML
function part:strip_html() end

---Takes the part out, with all that is in it; a text in its place when there is a warning.
---@param warning? string
function part:drop(warning) end

---Puts another part in its place.
---@param entity postern.entity
function part:replace(entity) end

---New decoded content for a part that holds no others, in its own transfer encoding where that can carry
---it, else in base64.
---@param bytes string
function part:set_content(bytes) end

---One field with this value instead of all of that name in the part's header; nil: none.
---@param name string
---@param value string|nil
function part:set_header(name, value) end

---A neutral type and file name; the content stays byte for byte.
---@param name? string
function part:defang(name) end

---@class postern.url_options
---@field directory? string by default urls.directory
---@field base_url? string by default urls.base_url
---@field age? number|string seconds, or "30d"; 0: for ever; by default urls.age
---@field text? string with ${name}, ${url}, ${size}, ${expires}, ${type}, ${sha256}
---@field html? string the same for mail that is HTML alone

---Puts the content into a folder that a web server serves, and a text with its address into its place.
---@param options? postern.url_options
---@return string? url
---@return string? why
function part:replace_with_url(options) end

---@class postern.command_options
---@field command string|string[] for the shell; or the program and its arguments
---@field timeout? number|string seconds, or "5s"
---@field max_output? integer|string bytes, or "1M"
---@field on_failure? "error"|"return"

---The content through a program: its output becomes the content. Needs worker.allow_exec.
---@param options postern.command_options
---@return boolean
---@return string? why
function part:filter_through(options) end

---@class postern.name_options
---@field archives? boolean look into archives
---@field unreadable? boolean false: an archive that cannot be listed, or a part with too many names, is no match

---An entry of an archive.
---@class postern.entry
---@field name string
---@field names string[] every reading of it
---@field path string with the names of the archives around it
---@field depth integer
---@field size? integer
---@field directory boolean
---@field encrypted boolean
---@field absolute boolean would be unpacked elsewhere
---@field over_ratio boolean
---@field hidden boolean some programs do not show it

-- Hooks: global functions that a filter defines ---------------------------------------------------

---@alias postern.hook_result postern.verdict|nil

---@type fun()
filter_init = nil
---@type fun(conn: postern.conn): postern.hook_result
filter_relay = nil
---@type fun(conn: postern.conn): postern.hook_result
filter_helo = nil
---@type fun(msg: postern.msg): postern.hook_result
filter_sender = nil
---@type fun(msg: postern.msg, rcpt: postern.rcpt): postern.hook_result
filter_recipient = nil
---@type fun(msg: postern.msg): postern.hook_result
filter_data = nil
---@type fun(msg: postern.msg, name: string, value: string): postern.hook_result
filter_header = nil
---@type fun(msg: postern.msg): postern.hook_result
filter_headers = nil
---@type fun(msg: postern.msg, chunk: string): postern.hook_result
filter_body = nil
---@type fun(msg: postern.msg): postern.hook_result
filter_message = nil
---@type fun(msg: postern.msg)
filter_abort = nil
---@type fun(conn: postern.conn)
filter_close = nil
---@type fun(conn: postern.conn, command: string): postern.hook_result
filter_unknown = nil
---A look-up of the mail server over multiplexor.map_socket: the value, nothing (not found), or nil and why.
---@type fun(map: string, key: string): string?, string?, "perm"?
filter_map = nil
---A timer of multiplexor.ticks is due.
---@type fun(name: string)
filter_tick = nil
---@type fun()
filter_exit = nil

-- Modules -----------------------------------------------------------------------------------------

---require "postern.log". One text is logged as it is, several arguments as string.format would.
---@class postern.log
local log = {}

---@param text any
---@param ... any
function log.debug(text, ...) end

---@param text any
---@param ... any
function log.info(text, ...) end

---@param text any
---@param ... any
function log.warn(text, ...) end

---@param text any
---@param ... any
function log.error(text, ...) end

---require "postern.archive".
---@class postern.archive
local archive = {}

---As part:entries, of any bytes.
---@param bytes string
---@param name? string what a file of them would be called
---@return postern.entry[]?
---@return string? why
---@return postern.entry[]? some
function archive.entries(bytes, name) end

---require "postern.async".
---@class postern.async
local async = {}

---@class postern.async_options
---@field timeout? number seconds after which those that have not ended are cancelled

---Runs functions at the same time. The result has the first value of each under its key, and in `errors` why not.
---@param functions table<any, fun(): any, any>
---@param options? postern.async_options
---@return table
function async.all(functions, options) end

---Runs functions until the first returns anything but nil: that and its key; or nil and why.
---@param functions table<any, fun(): any, any>
---@param options? postern.async_options
---@return any answer
---@return any key or why there is no answer
function async.any(functions, options) end

---Calls a function with less time: what it returns, or nil and "timeout…".
---@param seconds number
---@param call fun(...): ...
---@param ... any
---@return any ...
function async.timeout(seconds, call, ...) end

---Waits; the worker serves nobody else meanwhile.
---@param seconds number
function async.sleep(seconds) end

---Seconds until the time of the function that asks is over.
---@return number
function async.time_left() end

---require "postern.dns". Needs worker.allow_network.
---@class postern.dns
local dns = {}

---@class postern.dns_list
---@field nxdomain? boolean true: the name does not exist; the list is empty then

---The records of a name; or nil and "timeout…", "servfail…", "refused…", "formerr…", "network…".
---A list of texts; of tables for MX (preference, exchange) and SRV (priority, weight, port, target).
---@param name string
---@param kind? string A (default), AAAA, CNAME, MX, NS, PTR, SRV, TXT
---@return postern.dns_list?
---@return string? error
function dns.query(name, kind) end

---@class postern.dns_reverse_options
---@field confirm? boolean only names that lead back to the address

---The names of an address.
---@param ip string
---@param options? postern.dns_reverse_options
---@return postern.dns_list?
---@return string? error
function dns.reverse(ip, options) end

---A DNS block list: its name, or this.
---@class postern.dnsbl_zone
---@field zone string
---@field codes? string[] answers that count: "127.0.0.2", "127.0.0.4-11"; else all
---@field hash? "md5"|"sha1"|"sha256" of lists of hashes
---@field encoding? "hex"|"base32" of hashes

---require "postern.dnsbl". Needs worker.allow_network. nil and why when a list cannot be asked and no other has it.
---@class postern.dnsbl
local dnsbl = {}

---The zones of a line of the configuration: "zen.example=127.0.0.2-11,127.0.0.20 bl.example".
---@param text string
---@return postern.dnsbl_zone[]
function dnsbl.zones(text) end

---Which zone lists an address, or the origin of a message. Private and absent addresses are not asked for.
---@param ip string|postern.msg|nil
---@param zone string|postern.dnsbl_zone|(string|postern.dnsbl_zone)[]
---@param ... string|postern.dnsbl_zone|(string|postern.dnsbl_zone)[]
---@return string? zone
---@return string[]|string|nil answers, or why
function dnsbl.listed(ip, zone, ...) end

---Which zone lists a domain.
---@param name string
---@param zone string|postern.dnsbl_zone|(string|postern.dnsbl_zone)[]
---@param ... string|postern.dnsbl_zone|(string|postern.dnsbl_zone)[]
---@return string? zone
---@return string[]|string|nil answers, or why
function dnsbl.listed_domain(name, zone, ...) end

---Which zone lists the hash of a text; an address of mail counts in lower case.
---@param text string
---@param zone string|postern.dnsbl_zone|(string|postern.dnsbl_zone)[]
---@param ... string|postern.dnsbl_zone|(string|postern.dnsbl_zone)[]
---@return string? zone
---@return string[]|string|nil answers, or why
function dnsbl.listed_hash(text, zone, ...) end

---What a zone says of an address, a domain or, with hash, a text; nil when it says nothing.
---@param what string|postern.msg
---@param zone string|postern.dnsbl_zone
---@return string? text printable ASCII
---@return string? error
function dnsbl.reason(what, zone) end

---@class postern.http_options
---@field headers? table<string, string|string[]>
---@field body? string of http.request and http.delete
---@field timeout? number seconds, in all
---@field connect_timeout? number seconds
---@field max_header? integer bytes
---@field max_body? integer bytes
---@field redirects? integer how many are followed: 0 (default) to 20
---@field ca_file? string PEM file of authorities
---@field verify? boolean false: any certificate
---@field user? string
---@field password? string

---@class postern.http_answer
---@field status integer
---@field headers table<string, string> names in lower case
---@field body string bytes
---@field url string where it came from
---@field redirects integer how many were followed

---require "postern.http". Needs worker.allow_network.
---@class postern.http
local http = {}

---Asks for a page; or nil and "timeout", "refused", "closed", "too long", "tls…", "dns…", ….
---@param address string
---@param options? postern.http_options
---@return postern.http_answer?
---@return string? error
function http.get(address, options) end

---The same without the body.
---@param address string
---@param options? postern.http_options
---@return postern.http_answer?
---@return string? error
function http.head(address, options) end

---Sends a body.
---@param address string
---@param body string
---@param options? postern.http_options
---@return postern.http_answer?
---@return string? error
function http.post(address, body, options) end

---Sends a body with PUT.
---@param address string
---@param body string
---@param options? postern.http_options
---@return postern.http_answer?
---@return string? error
function http.put(address, body, options) end

---A DELETE.
---@param address string
---@param options? postern.http_options
---@return postern.http_answer?
---@return string? error
function http.delete(address, options) end

---Any of them.
---@param method "GET"|"HEAD"|"POST"|"PUT"|"DELETE"
---@param address string
---@param options? postern.http_options
---@return postern.http_answer?
---@return string? error
function http.request(method, address, options) end

---@class postern.rspamd_symbol
---@field score number
---@field description? string
---@field options string[]

---@class postern.rspamd_result
---@field status "clean"|"spam"|"skipped"|"unscanned"
---@field is_spam boolean
---@field score number
---@field threshold number
---@field action "no action"|"greylist"|"add header"|"rewrite subject"|"soft reject"|"reject"|"discard"|string
---@field symbols table<string, postern.rspamd_symbol>
---@field tests string[] names of the symbols
---@field report string
---@field subject? string
---@field messages table<string, any>
---@field signatures string[] values of DKIM-Signature
---@field milter table what rspamd.apply does

---@class postern.rspamd_options
---@field changed? boolean the mail as it would leave
---@field deliver_to? string
---@field user? string
---@field headers? table<string, string|string[]> further ones for rspamd
---@field url? string
---@field timeout? number seconds
---@field on_failure? "tempfail"|"continue"|"return"

---require "postern.rspamd". Needs worker.allow_network.
---@class postern.rspamd
local rspamd = {}

---Asks rspamd.
---@param message postern.msg
---@param options? postern.rspamd_options
---@return postern.rspamd_result
---@return string? error
function rspamd.check(message, options) end

---Changes header and envelope as it asks for.
---@param message postern.msg
---@param result postern.rspamd_result
function rspamd.apply(message, result) end

---require "postern.html".
---@class postern.html
local html = {}

---The text of HTML.
---@param source string
---@return string
function html.text(source) end

---Text as HTML has it.
---@param text string
---@return string
function html.escape(text) end

---All that it links to, each once.
---@param source string
---@return string[]
function html.links(source) end

---@class postern.url_parts
---@field scheme string in lower case
---@field host? string in lower case
---@field userinfo? string
---@field port? integer
---@field path string
---@field query? string
---@field fragment? string

---@class postern.rewrite_options
---@field force? boolean also signed and encrypted parts

---require "postern.url".
---@class postern.url
local url = {}

---The parts of an address; nil without a scheme.
---@param address string
---@return postern.url_parts?
function url.parse(address) end

---Without those parameters of its query ("utm_*"); nil when it has none of them.
---@param address string
---@param names string[]
---@return string?
function url.without_params(address, names) end

---Puts what f returns in the place of each address in text and HTML; nil leaves it. How many places changed.
---@param message postern.msg
---@param f fun(address: string): string|nil|false
---@param options? postern.rewrite_options
---@return integer
function url.rewrite(message, f, options) end

---@class postern.disclaimer_forms
---@field text? string template
---@field html? string template

---@class postern.disclaimer_options
---@field text? string template
---@field html? string template
---@field domains? table<string, postern.disclaimer_forms> by the sender's domain
---@field variables? table<string, any> own ones: values, or functions of msg
---@field outgoing? boolean true: mail of our own users alone
---@field once? boolean true: not when it is there already
---@field marker? string words that tell that it is there
---@field force? boolean signed and encrypted mail too

---require "postern.disclaimer".
---@class postern.disclaimer
local disclaimer = {}

---Reads templates; the result is called with msg in filter_message.
---@param options postern.disclaimer_options
---@return fun(msg: postern.msg): boolean, string?
function disclaimer.new(options) end

---A template filled in.
---@param template string
---@param message postern.msg
---@param target? "text"|"html"
---@param variables? table<string, any>
---@return string
function disclaimer.fill(template, message, target, variables) end

---Whether it comes from a user of ours.
---@param message postern.msg
---@return boolean
function disclaimer.is_outgoing(message) end

---@class postern.spf_result
---@field result "pass"|"fail"|"softfail"|"neutral"|"none"|"temperror"|"permerror"
---@field reason string the mechanism that matched, or what is wrong
---@field explanation? string on a fail: what the domain says of it
---@field domain string
---@field ip? string
---@field identity? "mailfrom"|"helo" of spf.check
---@field sender? string of spf.check
---@field helo? string of spf.check

---require "postern.spf".
---@class postern.spf
local spf = {}

---Judges the client for the sender's domain, or for its HELO.
---@param message postern.msg
---@param options? { identity: "mailfrom"|"helo"?, receiver: string? }
---@return postern.spf_result
function spf.check(message, options) end

---The same for any address and sender.
---@param ip string
---@param domain string
---@param sender string
---@param helo? string
---@param receiver? string
---@return postern.spf_result
function spf.check_host(ip, domain, sender, helo, receiver) end
---A list of answers: false for what is not there, and for an error.
---@class postern.redis_answers
---@field [integer] string|integer|table|false
---@field errors table<integer, string>

---require "postern.redis": commands to the server of section [redis]. nil and why when it cannot be asked.
---@class postern.redis
local redis = {}

---@param command string
---@param ... string|number
---@return string|integer|table|nil answer nil alone: there is no such key
---@return string? why
function redis.call(command, ...) end

---@param commands (string|number)[][]
---@return postern.redis_answers? answers
---@return string? why
function redis.pipeline(commands) end

---With no other client's command between them.
---@param commands (string|number)[][]
---@return postern.redis_answers? answers
---@return string? why
function redis.transaction(commands) end

---@alias postern.sql_value string|number|boolean|nil|postern.sql_blob

---@class postern.sql_blob
---@field blob string

---What a transaction has. Values are parameters, $1, $2 …, and never part of the text.
---In place of a result: nil, why, and the data base's code for it.
---@class postern.sql_tx
---@field query fun(self: postern.sql_tx, statement: string, ...: postern.sql_value): table[]?, string?, string?
---@field row fun(self: postern.sql_tx, statement: string, ...: postern.sql_value): table?, string?, string?
---@field value fun(self: postern.sql_tx, statement: string, ...: postern.sql_value): any, string?, string?
---@field exec fun(self: postern.sql_tx, statement: string, ...: postern.sql_value): integer?, string?, string?

---What sql.open gives.
---@class postern.sql_db: postern.sql_tx
---@field transaction fun(self: postern.sql_db, f: fun(tx: postern.sql_tx): ...): any, string?, string? all or nothing

---@class postern.sql_options
---@field sqlite? string the path of the file
---@field postgres? string|table<string, string|integer> parameters of libpq; password_file
---@field name? string in logs
---@field timeout? number seconds
---@field connect_timeout? number seconds
---@field connections? integer
---@field idle_time? number seconds
---@field max_rows? integer
---@field max_bytes? integer
---@field on_failure? "return"|"tempfail"
---@field read_only? boolean of SQLite
---@field create? boolean of SQLite
---@field pooler? boolean of PostgreSQL

---require "postern.sql": data bases, SQLite and PostgreSQL.
---@class postern.sql
local sql = {}

---Opens nothing until it is asked.
---@param options postern.sql_options
---@return postern.sql_db
function sql.open(options) end

---Bytes as a parameter.
---@param bytes string
---@return postern.sql_blob
function sql.blob(bytes) end

---require "postern.store": what all workers share. nil and why when the store cannot be used.
---@class postern.store
local store = {}

---@alias postern.store_value boolean|number|string|table

---@param key string
---@return postern.store_value? value nil: there is none
---@return string? why
function store.get(key) end

---@param key string
---@param value postern.store_value
---@param ttl? number seconds
---@return boolean? done
---@return string? why
function store.set(key, value, ttl) end

---Only if there is no such entry.
---@param key string
---@param value postern.store_value
---@param ttl? number seconds
---@return boolean? done false: there is one
---@return string? why
function store.add(key, value, ttl) end

---@param key string
---@param n? integer
---@param ttl? number seconds, of an entry that is not there yet
---@return integer? sum
---@return string? why
function store.incr(key, n, ttl) end

---@param key string
---@return boolean? done false: there was none
---@return string? why
function store.delete(key) end

---@param prefix string
---@param limit? integer
---@return string[]? keys
---@return boolean|string more whether there are more; why, without keys
function store.keys(prefix, limit) end

---The function may be called more than once: with what is there when it is.
---@param key string
---@param change fun(value: postern.store_value?): postern.store_value?, number?
---@return postern.store_value? value
---@return string? why
function store.update(key, change) end

---@class postern.dkim_key

---@class postern.dkim_signature
---@field result "pass"|"fail"|"temperror"|"permerror"
---@field reason? string
---@field domain? string
---@field selector? string
---@field identity? string
---@field algorithm? string
---@field canonicalization? string
---@field headers? string[]
---@field body_length? integer
---@field unsigned_bytes? integer
---@field time? integer
---@field expires? integer
---@field key_bits? integer
---@field testing? boolean
---@field b? string

---@class postern.dkim_result
---@field result "pass"|"fail"|"temperror"|"permerror"|"none"
---@field reason? string
---@field domain? string
---@field signatures postern.dkim_signature[]
---@field skipped? integer

---@class postern.dkim_options
---@field key postern.dkim_key
---@field domain string
---@field selector string
---@field identity? string
---@field expires? integer seconds
---@field body? "relaxed"|"simple"
---@field headers? string[]
---@field oversign? string[]

---require "postern.dkim".
---@class postern.dkim
local dkim = {}

---Verifies the signatures of a message as it was received.
---@param message postern.msg
---@param options? { max_signatures: integer }
---@return postern.dkim_result
function dkim.verify(message, options) end

---Reads a private key; nil and why when it cannot be used.
---@param path string
---@return postern.dkim_key?, string?
function dkim.key(path) end

---The TXT record to publish for a key.
---@param key postern.dkim_key
---@return string
function dkim.record(key) end

---Signs the message as it will leave, when the hook has ended.
---@param message postern.msg
---@param options postern.dkim_options
function dkim.sign(message, options) end

---@class postern.dmarc_record
---@field text string
---@field p "none"|"quarantine"|"reject"
---@field sp? "none"|"quarantine"|"reject"
---@field np? "none"|"quarantine"|"reject"
---@field adkim "r"|"s"
---@field aspf "r"|"s"
---@field psd "y"|"n"|"u"
---@field testing boolean
---@field rua string[]
---@field ruf string[]
---@field fo? string

---@class postern.dmarc_result
---@field result "pass"|"fail"|"none"|"temperror"|"permerror"
---@field policy "none"|"quarantine"|"reject"
---@field published "none"|"quarantine"|"reject"
---@field domain? string of From
---@field org_domain? string
---@field aligned { spf: boolean, dkim: boolean }
---@field dkim_domain? string
---@field record? postern.dmarc_record
---@field record_domain? string
---@field reason? string
---@field ambiguous boolean
---@field discovery "treewalk"|"psl"
---@field spf postern.spf_result
---@field dkim postern.dkim_result

---require "postern.dmarc".
---@class postern.dmarc
local dmarc = {}

---Judges a message; the worst of several domains in From counts.
---@param message postern.msg
---@param options? { spf: postern.spf_result?, dkim: postern.dkim_result?, suffixes: table? }
---@return postern.dmarc_result
function dmarc.check(message, options) end

---Reads a list of public suffixes.
---@param path? string
---@return table?, string?
function dmarc.suffixes(path) end

---What an aggregate report tells of a message, and a text for messages that count together.
---@param message postern.msg
---@param judged postern.dmarc_result
---@param disposition? "none"|"quarantine"|"reject"
---@return table, string
function dmarc.row(message, judged, disposition) end

---Counts that row in the store; false when the domain wants no reports.
---@param message postern.msg
---@param judged postern.dmarc_result
---@param disposition? "none"|"quarantine"|"reject"
---@return boolean?, string?
function dmarc.report(message, judged, disposition) end

---@class postern.arc_set
---@field instance integer
---@field domain string
---@field selector string
---@field algorithm string
---@field key_bits integer
---@field results string

---@class postern.arc_result
---@field result "none"|"pass"|"fail"|"temperror"
---@field reason? string
---@field instance integer
---@field domain? string
---@field oldest_pass? integer
---@field sets postern.arc_set[]

---@class postern.authres_options
---@field id? string our name; the macro j
---@field auth? boolean tell the user who authenticated
---@field spf? postern.spf_result
---@field dkim? postern.dkim_result
---@field dmarc? postern.dmarc_result
---@field arc? postern.arc_result
---@field other? { method: string, result: string, reason: string?, properties: string[][]? }[]

---@class postern.arc_options : postern.authres_options
---@field key postern.dkim_key
---@field domain string
---@field selector string
---@field body? "relaxed"|"simple"
---@field headers? string[]
---@field oversign? string[]

---require "postern.arc".
---@class postern.arc
local arc = {}

---Validates the chain of a message as it was received.
---@param message postern.msg
---@param options? table there are none
---@return postern.arc_result
function arc.verify(message, options) end

---Adds a set to the message as it will leave, when the hook has ended.
---@param message postern.msg
---@param options postern.arc_options
function arc.seal(message, options) end

---require "postern.authres".
---@class postern.authres
local authres = {}

---Adds an Authentication-Results field; those that claim to be ours go.
---@param message postern.msg
---@param options postern.authres_options
function authres.add(message, options) end

---Takes away the fields that claim our name.
---@param message postern.msg
---@param options? { id: string? }
---@return integer
function authres.remove(message, options) end
---@class postern.file_options
---@field refresh? number seconds until it is looked at again: 60
---@field max? number bytes: 16777216

---require "postern.file".
---@class postern.file
local file = {}

---Reads a file now, and again when it has changed; what was read last stays when that fails.
---@generic T
---@param path string
---@param parse? fun(content: string): T?, string? the value, or nil and why there is none; else the content
---@param options? postern.file_options
---@return fun(): T value
function file.watch(path, parse, options) end

---The rest of each line by its first word, in lower case; nil and why when one is there twice.
---@param content string
---@return table<string, string>? map
---@return string? why
function file.map(content) end

---The path of a file beside the filter or in worker.module_path.
---@param name string
---@return string? path
function file.beside(name) end

---require "postern.greylist".
---@class postern.greylist
local greylist = {}

---Seconds that the mail has to wait for this recipient, or nil; nil and why when the store cannot be used.
---@param message postern.msg
---@param recipient postern.rcpt|string
---@param options? {identity: string?, delay: number?}
---@return number? seconds
---@return string? why
function greylist.check(message, recipient, options) end

---require "postern.ratelimit".
---@class postern.ratelimit
local ratelimit = {}

---One more of the key.
---@param key string
---@param limit number
---@param period number seconds
---@param burst? number
---@return boolean? allowed
---@return number|string seconds until there may be one; why, when the store cannot be used
function ratelimit.hit(key, limit, period, burst) end

---require "postern.reputation".
---@class postern.reputation
local reputation = {}

---@param key string
---@param score number
---@param weight? number
---@return number? mean
---@return number|string weight
function reputation.add(key, score, weight) end

---@param key string
---@return number? mean
---@return number|string weight
function reputation.get(key) end

---@class postern.scanned
---@field status "clean"|"infected"|"skipped"|"unscanned"
---@field name? string of what was found
---@field error? string why it was not scanned

---require "postern.clamav".
---@class postern.clamav
local clamav = {}

---Asks clamd about a message, or the decoded content of a part; nil and why with clamav.on_failure = return.
---@param content postern.msg|postern.part
---@return postern.scanned? result
---@return string? why
function clamav.scan(content) end

---@class postern.icap_scanned: postern.scanned
---@field threats? string[] all that it names
---@field modified? boolean whether the server gave back something else than it got
---@field reason? string then: an HTTP status line, or a text

---require "postern.icap".
---@class postern.icap
local icap = {}

---Asks an ICAP server about a message, or the decoded content of a part; nil and why with on_failure = "return".
---@param content postern.msg|postern.part
---@param options? {service: string?, method: string?, name: string?, on_failure: string?}
---@return postern.icap_scanned? result
---@return string? why
function icap.scan(content, options) end

---@class postern.dialogue
---@field steps {send: string?, content: boolean?, expect: string?}[] in order; send may hold {size}
---@field infected string Lua pattern of a line; captures the name
---@field last string of the line that ends the answer
---@field clean string of that line

---@class postern.line_scanner
---@field scan fun(self: postern.line_scanner, content: postern.msg|postern.part): postern.scanned?, string?

---require "postern.command".
---@class postern.command
local command = {}

---A scanner that speaks in lines.
---@param options {name: string, sockets: string, dialogue: "savdi"|"fprot"|postern.dialogue, on_failure: string?}
---@return postern.line_scanner
function command.server(options) end

---@class postern.spam_checked
---@field status "spam"|"clean"|"skipped"|"unscanned"
---@field is_spam? boolean
---@field score? number
---@field threshold? number
---@field report? string "" without one
---@field tests? string[] names of the rules that fitted
---@field error? string why it was not checked

---require "postern.spamassassin".
---@class postern.spamassassin
local spamassassin = {}

---Asks spamd about a message; nil and why with spamassassin.on_failure = return.
---@param message postern.msg
---@param options? {changed: boolean?, report: boolean?, user: string?}
---@return postern.spam_checked? result
---@return string? why
function spamassassin.check(message, options) end

---@class postern.smtp_server
---@field host? string a name or an address
---@field port? integer 25
---@field path? string of a UNIX socket
---@field timeout? number seconds
---@field starttls? "no"|"may"|"must"|"verify"
---@field ca_file? string

---@class postern.smtp_check : postern.smtp_server
---@field sender? string the null sender

---@class postern.smtp_mail : postern.smtp_server
---@field from? string the null sender
---@field to string|postern.rcpt|(string|postern.rcpt)[]
---@field message string|postern.msg

---@class postern.smtp_copy : postern.smtp_server
---@field to? string|postern.rcpt|(string|postern.rcpt)[]

---@class postern.smtp_answer
---@field code integer
---@field text string

---require "postern.smtp".
---@class postern.smtp
local smtp = {}

---Whether a server takes mail for an address; nil and why when it did not say.
---@param address string|postern.rcpt
---@param server? postern.smtp_check
---@return boolean? takes
---@return integer|string code why, when the first is nil
---@return string? text
function smtp.check_recipient(address, server) end

---Sends a message; answers by address. Nil and why; then true when it may have been taken all the same.
---@param mail postern.smtp_mail
---@return boolean? is_taken
---@return table<string, postern.smtp_answer>|string answers
---@return boolean? may_be_taken
function smtp.send(mail) end

---Sends a message as it would leave, with its envelope's arguments, over smtp.reinject.
---@param message postern.msg
---@param server? postern.smtp_copy
---@return boolean? is_taken
---@return table<string, postern.smtp_answer>|string answers
---@return boolean? may_be_taken
function smtp.reinject(message, server) end

---require "postern.metrics".
---@class postern.metrics
local metrics = {}

---A counter that all workers share; exported as postern_user_NAME_total.
---@param name string
---@param help? string
---@return postern.counter
function metrics.counter(name, help) end

---@class postern.counter
local counter = {}

---Counts at once, whatever becomes of the hook.
---@param n? integer
---@param labels? table<string, string|number|boolean>
function counter:inc(n, labels) end

---@overload fun(name: "postern.log"): postern.log
---@overload fun(name: "postern.archive"): postern.archive
---@overload fun(name: "postern.async"): postern.async
---@overload fun(name: "postern.dns"): postern.dns
---@overload fun(name: "postern.dnsbl"): postern.dnsbl
---@overload fun(name: "postern.html"): postern.html
---@overload fun(name: "postern.http"): postern.http
---@overload fun(name: "postern.rspamd"): postern.rspamd
---@overload fun(name: "postern.url"): postern.url
---@overload fun(name: "postern.disclaimer"): postern.disclaimer
---@overload fun(name: "postern.metrics"): postern.metrics
---@overload fun(name: "postern.spf"): postern.spf
---@overload fun(name: "postern.dkim"): postern.dkim
---@overload fun(name: "postern.dmarc"): postern.dmarc
---@overload fun(name: "postern.redis"): postern.redis
---@overload fun(name: "postern.sql"): postern.sql
---@overload fun(name: "postern.store"): postern.store
---@overload fun(name: "postern.arc"): postern.arc
---@overload fun(name: "postern.authres"): postern.authres
---@overload fun(name: "postern.file"): postern.file
---@overload fun(name: "postern.greylist"): postern.greylist
---@overload fun(name: "postern.ratelimit"): postern.ratelimit
---@overload fun(name: "postern.reputation"): postern.reputation
---@overload fun(name: "postern.clamav"): postern.clamav
---@overload fun(name: "postern.spamassassin"): postern.spamassassin
---@overload fun(name: "postern.command"): postern.command
---@overload fun(name: "postern.icap"): postern.icap
---@overload fun(name: "postern.smtp"): postern.smtp
---@param name string
---@return any
function require(name) end

-- Tests (posternctl test) ---------------------------------------------------------------------------

---@class postern.test_message
---@field file? string path of a message, beside the test; or eml
---@field eml? string text of a message
---@field ip? string client's address, or "local"
---@field hostname? string
---@field helo? string
---@field sender? string
---@field recipients? string[]
---@field macros? table<string, string>

---What `posternctl run --json` prints.
---@class postern.test_result
---@field file string
---@field verdict "accept"|"continue"|"reject"|"tempfail"|"discard"|"error"
---@field reply? {code: integer, dsn: string, text: string}
---@field actions table[]
---@field parts table[]
---@field defects table[]
---@field recipients table[]
---@field log string[]
---@field error? string

---In a file of tests only: plays one message through the filter, which is loaded anew.
---@param message postern.test_message
---@return postern.test_result
function run(message) end

---In a file of tests only: the time that os.time and the store see goes on by so much.
---@param seconds number
function advance_clock(seconds) end

---Records by type (A, AAAA, CNAME, MX, NS, PTR, SRV, TXT), as dns.query gives them.
---@class postern.test_records
---@field delay? number seconds until the answer comes
---@field [string] (string|table)[]

---@alias postern.test_failure "nxdomain"|"timeout"|"servfail"|"refused"|"network"

---In a file of tests only: what these names answer from now on. Names that were never listed do not exist.
---@param answers table<string, postern.test_records|postern.test_failure> an address: the name of its PTR
function dns_answers(answers) end

---In a file of tests only: what a back end answers from now on: a result, or nil and why there is none.
---@param name string the section of its options: "clamav"
---@param fake table|fun(request: table): table?, string?
function fake_backend(name, fake) end
