/* The `part` object as a filter sees it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "tests/unit/worker_fixture.h"

static const char mail[] = "Subject: x\nContent-Type: multipart/mixed; boundary=b\n\n"
                           "--b\nContent-Type: text/plain; charset=iso-8859-1\n\nh\xe4llo\n"
                           "--b\nContent-Type: application/octet-stream; "
                           "name=\"report.pdf\"\nContent-Transfer-Encoding: base64\n"
                           "Content-Disposition: attachment; filename=\"Invoice.EXE. "
                           "\"\nContent-ID: <c@d>\nX-Note: =?utf-8?Q?=C3=A4?=\n\nTVpoZWxsbw==\n"
                           "--b--\n";

static void run(const char *code)
{
    struct worker_fixture f;
    fixture_open(&f, NULL);
    fixture_envelope(&f);
    fixture_message(&f, mail);
    fixture_lua(&f, HOOK_MESSAGE, code);
    fixture_close(&f);
}

static void run_error(const char *code, const char *part)
{
    struct worker_fixture f;
    fixture_open(&f, NULL);
    fixture_envelope(&f);
    fixture_message(&f, mail);
    fixture_lua_error(&f, HOOK_MESSAGE, code, part);
    fixture_close(&f);
}

#define PARTS                                                                                      \
    "local p = {} for part in msg:walk() do p[#p + 1] = part end local root, text, exe = p[1], "   \
    "p[2], p[3] "

static void fields_are_there(void **state)
{
    (void)state;
    run(PARTS
        "eq(#p, 3) eq(root.type, 'multipart/mixed') eq(root.is_container, true) eq(root.parent, "
        "nil) eq(root.depth, 0)"
        "eq(exe.type, 'application/octet-stream') eq(exe.path, '1.2') eq(exe.depth, 1) "
        "eq(exe.parent == root, true)"
        "eq(exe.params.name, 'report.pdf') eq(exe.params.nothing, nil) eq(exe.encoding, 'base64') "
        "eq(exe.disposition, 'attachment')"
        "eq(exe.content_id, 'c@d') eq(exe.filename, 'Invoice.EXE.') eq(exe.extension, 'EXE') "
        "eq(exe.size, 7) eq(exe.charset, '')"
        "eq(#exe.filenames, 3) eq(exe.filenames[3], 'report.pdf') eq(exe.detected_type, "
        "'application/x-msdownload')"
        "eq(exe.is_signed, false) eq(exe.is_encrypted, false) eq(text.filename, nil) "
        "eq(text.extension, '') eq(#text.filenames, 0)"
        "eq(text.charset, 'iso-8859-1') eq(tostring(exe), 'part 1.2 (application/octet-stream)')");
}

static void methods_work(void **state)
{
    (void)state;
    run(PARTS "eq(exe:header('x-note'), '\xc3\xa4') eq(exe:header('Subject'), nil) "
              "eq(root:header('subject'), 'x')"
              "eq(exe:content(), 'MZhello') eq(exe:content(3), 'hello') eq(exe:content(3, 2), "
              "'he') eq(exe:content(8), '') eq(exe:content(100, 5), '') eq(exe:content(1, 0), '')"
              "eq(text:text(), 'h\xc3\xa4llo') eq(text:content(), 'h\xe4llo') eq(exe:text(), '')"
              "eq(exe:hash('md5'), '204d6b1e6dffa6728e0cbf6968b475d9') eq(#exe:hash(), 64) "
              "eq(#exe:hash('sha1'), 40)");
}

static void names_are_asked(void **state)
{
    (void)state;
    run(PARTS "eq(exe:has_extension('exe'), true) eq(exe:has_extension{'scr', '.ExE'}, true) "
              "eq(exe:has_extension{'pdf'}, true)"
              "eq(exe:has_extension{'xe'}, false) eq(exe:has_extension{}, false) "
              "eq(text:has_extension{'exe'}, false)"
              "eq(exe:name_matches('^invoice\\\\.'), true) eq(exe:name_matches('\\\\.pdf$'), true) "
              "eq(exe:name_matches('\\\\.zip$'), false) eq(text:name_matches('.'), false)"
              "for i = 1, 200 do eq(exe:name_matches('x' .. i), false) end");
}

/* d/run.exe and s in a zip: as a string of Lua, and as a part. */
#define ZIP_LUA                                                                                    \
    "'PK\\003\\004\\020\\000\\000\\000\\000\\000\\000\\000!\\000]\\155\\176\\143\\002"             \
    "\\000\\000\\000\\002\\000\\000\\000\\009\\000\\000\\000d/run.exeMZPK\\003\\004\\020"          \
    "\\000\\000\\000\\000\\000\\000\\000!\\000\\000\\000\\000\\000\\000\\000\\000\\000"            \
    "\\000\\000\\000\\000\\001\\000\\000\\000sPK\\001\\002\\020\\003\\020\\000\\000\\000"          \
    "\\000\\000\\000\\000!\\000]\\155\\176\\143\\002\\000\\000\\000\\002\\000\\000\\000"           \
    "\\009\\000\\000\\000\\000\\000\\000\\000\\000\\000\\000\\000\\000\\000\\000\\000"             \
    "\\000\\000d/run.exePK\\001\\002\\020\\003\\020\\000\\000\\000\\000\\000\\000\\000!"           \
    "\\000\\000\\000\\000\\000\\000\\000\\000\\000\\000\\000\\000\\000\\001\\000\\000"             \
    "\\000\\000\\000\\000\\000\\000\\000\\000\\000\\000\\000)\\000\\000\\000sPK\\005\\006"         \
    "\\000\\000\\000\\000\\002\\000\\002\\000f\\000\\000\\000H\\000\\000\\000\\000\\000'"

static const char zip_mail[] =
    "Subject: x\nContent-Type: application/zip; name=\"a.zip\"\n"
    "Content-Transfer-Encoding: base64\n\n"
    "UEsDBBQAAAAAAAAAIQBdm7CPAgAAAAIAAAAJAAAAZC9ydW4uZXhlTVpQSwMEFAAAAAAAAAAhAAAA\n"
    "AAAAAAAAAAAAAAEAAABzUEsBAhQDFAAAAAAAAAAhAF2bsI8CAAAAAgAAAAkAAAAAAAAAAAAAAAAA\n"
    "AAAAAGQvcnVuLmV4ZVBLAQIUAxQAAAAAAAAAIQAAAAAAAAAAAAAAAAABAAAAAAAAAAAAAAAAACkA\n"
    "AABzUEsFBgAAAAACAAIAZgAAAEgAAAAAAA==\n";

static void archives_are_listed(void **state)
{
    (void)state;
    run("local archive = require 'postern.archive' local zip = " ZIP_LUA
        " local list, err, some = archive.entries(zip) eq(err, nil) eq(some, nil) eq(#list, 2)"
        "eq(list[1].name, 'd/run.exe') eq(list[1].path, 'd/run.exe') eq(list[1].depth, 1) "
        "eq(list[1].size, 2) eq(list[1].encrypted, false) eq(list[1].names[1], 'd/run.exe')"
        "list, err, some = archive.entries(zip:sub(1, 60)) eq(list, nil) "
        "eq(err:find('cut off') ~= nil, true) eq(some[1].name, 'd/run.exe')"
        "list, err = archive.entries('hello') eq(list, nil) eq(err, 'no archive')"
        "list, err = archive.entries('hello', 'a.rar') eq(err:find('no archive that') ~= nil, true)"
        "list, err, some = archive.entries('', 'a.zip') eq(err, 'it is empty') eq(#some, 0)");
    struct worker_fixture f;
    fixture_open(&f, NULL);
    fixture_envelope(&f);
    fixture_message(&f, zip_mail);
    fixture_lua(&f, HOOK_MESSAGE,
        "local p = msg.root local list = p:entries() eq(#list, 2) eq(p:entries()[2].name, 's')"
        "eq(p:has_extension('exe'), false) eq(p:has_extension('exe', {}), false)"
        "eq(p:has_extension({'com', 'exe'}, {archives = true}), true)"
        "eq(select('#', p:has_extension('exe', {archives = true})), 1)"
        "eq(p:has_extension('zip', {archives = true}), true)"
        "eq(p:has_extension('com', {archives = true}), false)"
        "eq(p:name_matches('^run\\\\.', {archives = true}), true)"
        "eq(p:name_matches('^d/run', {archives = true}), true)"
        "eq(p:name_matches('^run'), false)");
    fixture_close(&f);
}

static void limits_make_unreadable(void **state)
{
    (void)state;
    struct worker_fixture f;
    fixture_open(&f, (const char *[]){"worker.max_archive_entries=1", NULL});
    fixture_envelope(&f);
    fixture_message(&f, zip_mail);
    fixture_lua(&f, HOOK_MESSAGE,
        "local p = msg.root local list, err, some = p:entries() eq(list, nil) eq(#some, 1)"
        "eq(err:find('max_archive_entries') ~= nil, true)"
        "local found, why = p:has_extension('com', {archives = true}) eq(found, true) "
        "eq(why, 'unreadable')"
        "found, why = p:has_extension('exe', {archives = true}) eq(found, true) eq(why, nil)"
        "found, why = p:has_extension('com', {archives = true, unreadable = false}) "
        "eq(found, false) eq(why, nil)"
        "found, why = p:name_matches('com', {archives = true}) eq(why, 'unreadable')");
    fixture_close(&f);
}

/* Crowds of names, of parameters and of fields: the last is never seen. */
static void unknown_names_count(void **state)
{
    (void)state;
    static const struct {
        const char *front, *behind;
    } crowds[] = {
        {"; filename=a", ".txt"}, {"; x", "=y"}, {";\r\n filename*", "=a"}, {"\r\nX-", ": y"}};
    for (size_t i = 0; i < sizeof(crowds) / sizeof(crowds[0]); i++) {
        struct worker_fixture f;
        struct buf crowd;
        buf_init(&crowd, 1 << 20);
        (void)buf_put(&crowd, "Content-Disposition: attachment", 31);
        for (unsigned k = 0; k < 10100; k++) {
            char one[64];
            snprintf(one, sizeof(one), "%s%u%s", crowds[i].front, k, crowds[i].behind);
            (void)buf_put(&crowd, one, strlen(one));
        }
        (void)buf_put(&crowd, "\r\n\r\nx\r\n", 7);
        (void)buf_put(&crowd, "", 1);
        fixture_open(&f, NULL);
        fixture_envelope(&f);
        fixture_message(&f, (const char *)crowd.data);
        fixture_lua(&f, HOOK_MESSAGE,
            "local found, why = msg.root:has_extension('exe') eq(found, true) "
            "eq(why, 'too many names')"
            "found, why = msg.root:name_matches('exe$') eq(found, true) eq(why, 'too many names')"
            "eq(msg.root:has_extension('exe', {unreadable = false}), false)"
            "eq(msg.ambiguous, true)");
        fixture_close(&f);
        buf_clear(&crowd);
    }
}

static void misuse_raises(void **state)
{
    (void)state;
    static const struct {
        const char *code, *error;
    } rows[] = {
        {"return msg.root.nmae", "part has no field 'nmae'"},
        {"msg.root.type = 'x'", "cannot be assigned; changes are methods (part:…)"},
        {"local ok, why = pcall(function() msg.root.type = 'x' end) "
         "return not why:find('.state', 1, true) and error('no word of it')",
            "no word of it"},
        {"msg.root.header('x')", "call it as part:header"},
        {"msg.root:header('a:b')", "without colon"},
        {"msg.root:header()", "string expected"},
        {"msg.root:content(0)", "counts from 1"},
        {"msg.root:content(1, -1)", "negative"},
        {"msg.root:content('x')", "number expected"},
        {"msg.root:hash('crc')", "invalid option"},
        {"msg.root:has_extension()", "table expected"},
        {"msg.root:has_extension{1}", "must be a string"},
        {"msg.root:has_extension{''}", "must not be empty"},
        {"msg.root:has_extension'*.exe'", "no pattern, no list"},
        {"msg.root:has_extension{'exe,scr'}", "no pattern, no list"},
        {"msg.root:has_extension{'exe', 'sc r'}", "no pattern, no list"},
        {"msg.root:has_extension{'exe\\0'}", "no pattern, no list"},
        {"msg.root:has_extension{exe = true}", "list of extensions"},
        {"msg.root:has_extension({'exe'}, {archive = true})", "unknown key 'archive'"},
        {"msg.root:has_extension({'exe'}, {archives = 1})", "true or false"},
        {"msg.root:name_matches('x', {unreadable = 'no'})", "true or false"},
        {"require('postern.archive').entries()", "string expected"},
        {"require('postern.archive').entries('x', {})", "string expected"},
        {"msg.root:name_matches('%.exe$')", "Lua pattern"},
        {"msg.root:name_matches('(')", "not a regular expression"},
        {"msg.root:name_matches('')", "must not be empty"},
        {"msg.root:name_matches('x', 5)", "table expected"},
        {"for part in msg:parts() do "
         "part:name_matches('(?:.*.*)*(?:.*.*)*(?:.*.*)*(?:.*.*)*(?:.*.*)*\\\\d{9}') end",
            "could not be tried"},
        {"msg.root:save('')", "path of a file"},
        {"msg.root:save('a\\0b')", "path of a file"},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
        run_error(rows[i].code, rows[i].error);
}

static void a_part_ends_with_its_hook(void **state)
{
    (void)state;
    struct worker_fixture f;
    fixture_open(&f, (const char *[]){"worker.strict_globals=no", NULL});
    fixture_filter(&f, "function filter_message(msg) if kept then return reject(kept.type) end "
                       "kept = msg.root end");
    fixture_envelope(&f);
    fixture_message(&f, mail);
    fixture_run_ok(&f, HOOK_MESSAGE, VERDICT_CONTINUE);
    fixture_run_error(&f, HOOK_MESSAGE, "part is no longer available");
    fixture_close(&f);
}

static void save_writes_plain_files_only(void **state)
{
    (void)state;
    char dir[] = "/tmp/postern-part-XXXXXX", code[2000], path[200];
    assert_non_null(mkdtemp(dir));
    snprintf(path, sizeof(path), "%s/link", dir);
    assert_int_equal(symlink("/dev/null", path), 0);
    snprintf(path, sizeof(path), "%s/pipe", dir);
    assert_int_equal(mkfifo(path, 0600), 0);
    snprintf(code, sizeof(code),
        PARTS
        "local d = '%s/' eq(exe:save(d .. 'a'), true) eq(io.open(d .. 'a'):read('a'), 'MZhello')"
        "local ok, err = exe:save(d .. 'link') eq(ok, nil) eq(err:match('outside "
        "worker.state_dir') ~= nil, true)"
        "ok, err = exe:save(d .. 'pipe') eq(ok, nil) ok, err = exe:save(d .. 'no/a') eq(ok, nil) "
        "eq(err:match('No such') ~= nil, true)"
        "eq(exe:save(d .. 'a'), true)"
        "ok, err = exe:save('/tmp/postern-outside') eq(ok, nil)"
        "eq(err:match('worker.write_paths') ~= nil, true)",
        dir);
    struct worker_fixture f;
    snprintf(path, sizeof(path), "worker.write_paths=/nowhere:%s", dir);
    fixture_open(&f, (const char *[]){path, NULL});
    fixture_envelope(&f);
    fixture_message(&f, mail);
    fixture_lua(&f, HOOK_MESSAGE, code);
    fixture_close(&f);
    struct stat st;
    snprintf(path, sizeof(path), "%s/a", dir);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0600);
    assert_int_equal(st.st_size, 7);
    static const char *const left[] = {"a", "link", "pipe"};
    for (size_t i = 0; i < 3; i++) {
        snprintf(path, sizeof(path), "%s/%s", dir, left[i]);
        unlink(path);
    }
    assert_int_equal(rmdir(dir), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(fields_are_there),
        cmocka_unit_test(methods_work),
        cmocka_unit_test(names_are_asked),
        cmocka_unit_test(archives_are_listed),
        cmocka_unit_test(limits_make_unreadable),
        cmocka_unit_test(unknown_names_count),
        cmocka_unit_test(misuse_raises),
        cmocka_unit_test(a_part_ends_with_its_hook),
        cmocka_unit_test(save_writes_plain_files_only),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
