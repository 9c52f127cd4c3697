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

# unpack PURPOSE FOLDER: fetches packages and unpacks them below $POSTERN_CACHE/FOLDER (nothing is installed); nothing to do when they are all there
unpack() {
    local folder=$POSTERN_CACHE/$2 names package debs
    mapfile -t names < <(packages "$1")
    [ "$(cat "$folder/.complete" 2>/dev/null)" = "${names[*]}" ] && return
    rm -rf "$folder"
    mkdir -p "$folder"
    debs=$(mktemp -d "$POSTERN_CACHE/debs.XXXXXX")
    apt_update_once
    (cd "$debs" && apt-get -qq download "${names[@]}" 2>"$POSTERN_CACHE/apt.log") ||
        { cat "$POSTERN_CACHE/apt.log" >&2; fail "could not fetch ${names[*]}"; }
    for package in "$debs"/*.deb; do
        dpkg -x "$package" "$folder"
    done
    rm -rf "$debs"
    printf '%s\n' "${names[*]}" >"$folder/.complete"
}

# unpack_servers: all that tests start or ask, and never install
unpack_servers() {
    local set
    unpack postfix mta/postfix
    unpack sendmail mta/sendmail
    # A setgid program would ignore LD_LIBRARY_PATH, which finds the unpacked libraries.
    chmod g-s "$POSTERN_CACHE/mta/sendmail/usr/libexec/sendmail/sendmail"
    for set in web dns scan icap redis oracle sql; do
        unpack "$set" "$set"
    done
    unpack peer-rspamd peers/rspamd
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
