"""Configuration of the sendmail and the Postfix under test; words between @ are filled in by mta.py."""

# First line: sender; then recipients; an empty line; the message.
DELIVER = """#!/bin/sh
f=$(mktemp /mnt/box/msg.XXXXXX) || exit 75
sender=$1
shift
{ printf 'F:%s\\n' "$sender"; printf 'T:%s\\n' "$@"; echo; cat; } >"$f.tmp" && mv "$f.tmp" "$f.eml" && rm -f "$f"
"""

SENDMAIL_MC = """divert(0)dnl
include(`@CF@')dnl
OSTYPE(`linux')dnl
define(`MAIL_SETTINGS_DIR', `/mnt/etc/')dnl
define(`QUEUE_DIR', `/mnt/queue')dnl
define(`STATUS_FILE', `/mnt/run/statistics')dnl
define(`ALIAS_FILE', `')dnl
define(`HELP_FILE', `')dnl
define(`confPID_FILE', `/mnt/run/sendmail.pid')dnl
define(`confDEAD_LETTER_DROP', `/mnt/run/dead.letter')dnl
define(`confHOST_STATUS_DIRECTORY', `')dnl
define(`confCW_FILE', `-o /mnt/etc/local-host-names')dnl
define(`confCT_FILE', `-o /mnt/etc/trusted-users')dnl
define(`confDOMAIN_NAME', `mx.postern.test')dnl
define(`confDONT_BLAME_SENDMAIL', `AssumeSafeChown,GroupWritableDirPathSafe,RunProgramInUnsafeDirPath,RunWritableProgram')dnl
define(`confTO_IDENT', `0')dnl
define(`confDELIVERY_MODE', `background')dnl
define(`confREFUSE_LA', `1000')dnl
define(`confQUEUE_LA', `1000')dnl
define(`confSERVICE_SWITCH_FILE', `/mnt/etc/service.switch')dnl
define(`confMILTER_LOG_LEVEL', `14')dnl
define(`confDEF_USER_ID', `0:0')dnl
define(`confBAD_RCPT_THROTTLE', `0')dnl
define(`confCONNECTION_RATE_THROTTLE', `0')dnl
FEATURE(`no_default_msa')dnl
FEATURE(`accept_unqualified_senders')dnl
FEATURE(`accept_unresolvable_domains')dnl
FEATURE(`nocanonify')dnl
FEATURE(`promiscuous_relay')dnl
DAEMON_OPTIONS(`Name=MTA, Addr=@ADDRESS@, Port=@PORT@, Family=inet')dnl
@FILTERS@
@EXTRA@
MAILER_DEFINITIONS
MAILER(`smtp')dnl
Mfilebox, P=/mnt/deliver.sh, F=lsDFMPpmn9SuhE, T=DNS/RFC822/X-Unix, A=deliver.sh $g $u
LOCAL_RULE_0
R$+ < @ $+ . > $*\t$#filebox $@ $2 $: $1@$2
R$+ < @ $+ > $*\t$#filebox $@ $2 $: $1@$2
R$+\t$#filebox $@ localhost $: $1
"""

POSTFIX_MAIN = """compatibility_level = 3.6
queue_directory = @B@/queue
data_directory = @B@/data
daemon_directory = @R@/usr/lib/postfix/sbin
command_directory = @R@/usr/sbin
meta_directory = @B@/etc
shlib_directory = @R@/usr/lib/postfix
sendmail_path = @R@/usr/sbin/sendmail
mailq_path = @R@/usr/bin/mailq
newaliases_path = @R@/usr/bin/newaliases
manpage_directory = @R@/usr/share/man
mail_owner = uucp
setgid_group = tape
default_privs = nobody
import_environment = MAIL_CONFIG MAIL_DEBUG MAIL_LOGTAG TZ LANG=C POSTLOG_SERVICE POSTLOG_HOSTNAME LD_LIBRARY_PATH=@R@/usr/lib/postfix
myhostname = mxp.postern.test
mydestination =
local_recipient_maps =
mynetworks = 127.0.0.0/8
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
alias_maps =
alias_database =
virtual_mailbox_domains = static:all
virtual_mailbox_base = @B@/box
virtual_mailbox_maps = static:all/
virtual_uid_maps = static:65534
virtual_gid_maps = static:65534
virtual_minimum_uid = 100
virtual_mailbox_limit = 0
virtual_transport = virtual
smtpd_recipient_restrictions = permit_mynetworks, reject
smtpd_milters = @MILTERS@
non_smtpd_milters =
milter_protocol = 6
milter_default_action = tempfail
milter_connect_timeout = 30s
milter_command_timeout = 30s
milter_content_timeout = 120s
maillog_file = @B@/run/maillog
maillog_file_prefixes = @B@
in_flow_delay = 0
smtpd_error_sleep_time = 0
smtpd_hard_error_limit = 1000
smtpd_soft_error_limit = 1000
smtpd_client_connection_count_limit = 0
smtpd_peername_lookup = no
disable_dns_lookups = yes
notify_classes =
message_size_limit = 67108864
@SETTINGS@
"""

POSTFIX_MASTER = """@ADDRESS@:@PORT@ inet n - @CHROOT@ - - smtpd
@SERVICES@
pickup unix n - n 60 1 pickup
cleanup unix n - @CHROOT@ - 0 cleanup
qmgr unix n - n 300 1 qmgr
tlsmgr unix - - n 1000? 1 tlsmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
verify unix - - n - 1 verify
flush unix n - n 1000? 0 flush
proxymap unix - - n - - proxymap
proxywrite unix - - n - 1 proxymap
smtp unix - - n - - smtp
relay unix - - n - - smtp
showq unix n - n - - showq
error unix - - n - - error
retry unix - - n - - error
discard unix - - n - - discard
virtual unix - n n - - virtual
lmtp unix - - n - - lmtp
anvil unix - - n - 1 anvil
scache unix - - n - 1 scache
postlog unix-dgram n - n - 1 postlogd
"""
