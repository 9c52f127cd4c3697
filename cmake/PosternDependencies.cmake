# Libraries, all from Debian 12 and all by pkg-config. tools/packages names the packages.
find_package(PkgConfig REQUIRED)
find_package(Threads REQUIRED)
pkg_check_modules(INIH REQUIRED IMPORTED_TARGET inih)
pkg_check_modules(JANSSON REQUIRED IMPORTED_TARGET jansson)
pkg_check_modules(LIBEVENT REQUIRED IMPORTED_TARGET libevent_core)
pkg_check_modules(LUA REQUIRED IMPORTED_TARGET lua5.4)
pkg_check_modules(GMIME REQUIRED IMPORTED_TARGET gmime-3.0)
pkg_check_modules(LIBARCHIVE REQUIRED IMPORTED_TARGET libarchive)
pkg_check_modules(LIBMAGIC REQUIRED IMPORTED_TARGET libmagic)
# Named, since libmagic's own default follows environment and home folder.
find_file(POSTERN_MAGIC_FILE magic.mgc PATHS /usr/share/misc /usr/share/file /usr/lib/file NO_DEFAULT_PATH REQUIRED)
pkg_check_modules(MILTER REQUIRED IMPORTED_TARGET milter)
pkg_check_modules(PCRE2 REQUIRED IMPORTED_TARGET libpcre2-8)
pkg_check_modules(CARES REQUIRED IMPORTED_TARGET libcares)
pkg_check_modules(CURL REQUIRED libcurl>=7.85) # its header; the library is loaded at run time
pkg_check_modules(LIBPQ REQUIRED libpq>=15) # the same
pkg_check_modules(CRYPTO REQUIRED libcrypto>=3) # headers; loaded at run time, as libcurl is
pkg_check_modules(SQLITE REQUIRED IMPORTED_TARGET sqlite3)
pkg_check_modules(SSL REQUIRED libssl>=3) # the same
pkg_check_modules(SECCOMP REQUIRED IMPORTED_TARGET libseccomp)
pkg_check_modules(ZLIB REQUIRED IMPORTED_TARGET zlib)
