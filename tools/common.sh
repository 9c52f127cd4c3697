# shellcheck shell=bash
# Functions of quickstart, test and the tests' set-up. Sourced; expects `set -eu`. Defines:
#   POSTERN_TOP    the checkout
#   POSTERN_CACHE  the folder for all that is fetched or built besides; default .cache in the checkout

POSTERN_TOP=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
POSTERN_CACHE=${POSTERN_CACHE:-$POSTERN_TOP/.cache}
export POSTERN_TOP POSTERN_CACHE

say() { printf '%s\n' "$*"; }
fail() { printf '%s: %s\n' "${0##*/}" "$*" >&2; exit 1; }

# packages PURPOSE…: their names, from tools/packages
packages() {
    local purpose
    for purpose in "$@"; do
        awk -v purpose="$purpose" '$1 == purpose { print $2 }' "$POSTERN_TOP/tools/packages"
    done
}

missing_packages() {
    local package
    for package in "$@"; do
        [ "$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null)" = installed ] || printf '%s\n' "$package"
    done
}

apt_get() {
    local as_root=()
    if [ "$(id -u)" != 0 ]; then
        command -v sudo >/dev/null || fail "packages are missing and this is not root; as root: apt-get install $(packages build | tr '\n' ' ')"
        as_root=(sudo)
    fi
    "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -o DPkg::Lock::Timeout=900 -qq "$@"
}

apt_update_once() {
    [ -n "${APT_UPDATED:-}" ] && return
    apt_get update || say "apt-get update failed; going on with the lists that are here"
    APT_UPDATED=1
}

# install_packages PURPOSE…: installs what is missing, says what
install_packages() {
    local names missing
    command -v dpkg-query >/dev/null || fail "this is made for Debian 12; install the packages of tools/packages by hand"
    mapfile -t names < <(packages "$@")
    mapfile -t missing < <(missing_packages "${names[@]}")
    [ ${#missing[@]} -gt 0 ] || return 0
    say "installing: ${missing[*]}"
    apt_update_once
    apt_get install -y --no-install-recommends "${missing[@]}" >"$(mktemp_log)" 2>&1 ||
        { tail -n 20 "$POSTERN_CACHE/apt.log" >&2; fail "could not install ${missing[*]}"; }
}

mktemp_log() {
    mkdir -p "$POSTERN_CACHE"
    printf '%s' "$POSTERN_CACHE/apt.log"
}

# unpack_packages FOLDER PACKAGE…: fetches packages and unpacks them below FOLDER (nothing is installed); nothing to do when FOLDER is complete
unpack_packages() {
    local folder=$1 package debs
    shift
    [ -e "$folder/.complete" ] && return
    rm -rf "$folder"
    mkdir -p "$folder"
    debs=$(mktemp -d "$POSTERN_CACHE/debs.XXXXXX")
    apt_update_once
    (cd "$debs" && apt-get -qq download "$@" 2>"$POSTERN_CACHE/apt.log") ||
        { cat "$POSTERN_CACHE/apt.log" >&2; fail "could not fetch $*"; }
    for package in "$debs"/*.deb; do
        dpkg -x "$package" "$folder"
    done
    rm -rf "$debs"
    : >"$folder/.complete"
}

# unpack_mtas: sendmail and Postfix, in $POSTERN_CACHE/mta/{sendmail,postfix}
unpack_mtas() {
    local root=$POSTERN_CACHE/mta names
    mkdir -p "$root"
    unpack_packages "$root/postfix" postfix
    mapfile -t names < <(packages unpack | grep -v '^postfix$')
    unpack_packages "$root/sendmail" "${names[@]}"
    # A setgid program would ignore LD_LIBRARY_PATH, which finds the unpacked libraries.
    chmod g-s "$root/sendmail/usr/libexec/sendmail/sendmail"
}

# unpack_web: nginx, in $POSTERN_CACHE/web
unpack_web() {
    local names
    mapfile -t names < <(packages web)
    unpack_packages "$POSTERN_CACHE/web" "${names[@]}"
}

# unpack_dns: nsd, in $POSTERN_CACHE/dns
unpack_dns() {
    local names
    mapfile -t names < <(packages dns)
    unpack_packages "$POSTERN_CACHE/dns" "${names[@]}"
}

# unpack_scanners: clamd and spamd, in $POSTERN_CACHE/scan
unpack_scanners() {
    local names
    mapfile -t names < <(packages scan)
    unpack_packages "$POSTERN_CACHE/scan" "${names[@]}"
}

# unpack_icap: c-icap, in $POSTERN_CACHE/icap
unpack_icap() {
    local names
    mapfile -t names < <(packages icap)
    unpack_packages "$POSTERN_CACHE/icap" "${names[@]}"
}

# unpack_redis: redis-server, in $POSTERN_CACHE/redis
unpack_redis() {
    local names
    mapfile -t names < <(packages redis)
    unpack_packages "$POSTERN_CACHE/redis" "${names[@]}"
}

# unpack_oracles: libspf2, libopendmarc, Mail::SPF and Mail::DMARC, in $POSTERN_CACHE/oracle
unpack_oracles() {
    local names
    mapfile -t names < <(packages oracle)
    unpack_packages "$POSTERN_CACHE/oracle" "${names[@]}"
}

# unpack_sql: PostgreSQL, in $POSTERN_CACHE/sql
unpack_sql() {
    local names
    mapfile -t names < <(packages sql)
    unpack_packages "$POSTERN_CACHE/sql" "${names[@]}"
}

# unpack_rspamd: rspamd, in $POSTERN_CACHE/peers/rspamd, where tests/bench/run has it as well
unpack_rspamd() {
    local names
    mapfile -t names < <(packages peer-rspamd)
    mkdir -p "$POSTERN_CACHE/peers"
    unpack_packages "$POSTERN_CACHE/peers/rspamd" "${names[@]}"
}

# build PRESET [TARGET…]
build() {
    local preset=$1
    shift
    say "building $preset"
    mkdir -p "$POSTERN_TOP/build"
    (
        cd "$POSTERN_TOP"
        cmake --preset "$preset" "${CMAKE_EXTRA:--DPOSTERN_TESTS=ON}" && cmake --build --preset "$preset" ${1:+--target "$@"}
    ) >"$POSTERN_TOP/build/$preset.log" 2>&1 || { tail -n 60 "$POSTERN_TOP/build/$preset.log" >&2; fail "the $preset build failed (build/$preset.log)"; }
}
