/* The record codec: round trips of every record, spilling into the annex, refusals, patching. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "common/err.h"
#include "common/wire.h"

struct fixture {
    struct buf record, annex;
};

static const struct slice nothing = {NULL, 0};

static int set_up(void **state)
{
    struct fixture *fixture = calloc(1, sizeof(*fixture));

    assert_non_null(fixture);
    buf_init(&fixture->record, WIRE_RECORD_MAX);
    buf_init(&fixture->annex, WIRE_ANNEX_MAX);
    *state = fixture;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *fixture = *state;

    buf_clear(&fixture->record);
    buf_clear(&fixture->annex);
    free(fixture);
    return 0;
}

/* The table, read once more, so that the codec's own reading of it is tested. */
struct row {
    unsigned type, senders, fds;
    const char *name;
};
#define RECORD(id, name, number, senders, since, fds) {number, senders, fds, #id},
static const struct row rows[] = {
#include "common/records_each.h"
};
enum { N_ROWS = sizeof(rows) / sizeof(rows[0]) };

static const struct row *row_of(unsigned type)
{
    for (int i = 0; i < N_ROWS; i++)
        if (rows[i].type == type)
            return &rows[i];
    fail_msg("no such record: %u", type);
    return NULL;
}

static enum wire_role a_sender(const struct row *row)
{
    return (enum wire_role)(row->senders & -row->senders);
}

static void header_check(struct slice record, unsigned type, uint64_t id, unsigned flags)
{
    struct wire_header header;
    int n_fds = __builtin_popcount(flags);

    assert_int_equal(wire_get_header(record, a_sender(row_of(type)), n_fds, &header), 0);
    assert_int_equal(header.major, WIRE_MAJOR);
    assert_int_equal(header.minor, WIRE_MINOR);
    assert_int_equal(header.type, type);
    assert_int_equal(header.flags, flags);
    assert_true(header.id == id);
    assert_int_equal(header.payload_bytes, record.len - WIRE_HEADER_BYTES);
}

static void assert_same_text(struct slice a, struct slice b)
{
    assert_int_equal(a.len, b.len);
    assert_true(slice_equal(a, b));
}

#define RECORD(id, name, number, senders, since, fds)                                              \
    static void same_##name(const struct wire_##name *a, const struct wire_##name *b)              \
    {
#define RECORD_END(id, name) }
#define U8(f)                assert_int_equal(a->f, b->f);
#define U16(f)               assert_int_equal(a->f, b->f);
#define U32(f)               assert_int_equal(a->f, b->f);
#define U64(f)               assert_true(a->f == b->f);
#define TEXT(f, max)         assert_same_text(a->f, b->f);
#define SPILL(f, max)        assert_same_text(a->f, b->f);
#include "common/records_each.h"

/* Numbers that use all their bits, texts of all short lengths. */
static uint64_t next_number(uint64_t *seed)
{
    *seed = *seed * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return *seed ^ (*seed >> 29);
}

static struct slice next_text(uint64_t *seed, size_t max_bytes)
{
    static const char letters[] = "the quick brown fox jumps over the lazy dog, twice over";
    size_t from = next_number(seed) % 10, len = next_number(seed) % 40;

    return slice_of(letters + from, len < max_bytes ? len : max_bytes);
}

#define RECORD(id, name, number, senders, since, fds)                                              \
    static void fill_##name(uint64_t *seed, struct wire_##name *out)                               \
    {
#define RECORD_END(id, name) }
#define U8(f)                out->f = (uint8_t)next_number(seed);
#define U16(f)               out->f = (uint16_t)next_number(seed);
#define U32(f)               out->f = (uint32_t)next_number(seed);
#define U64(f)               out->f = next_number(seed);
#define TEXT(f, max)         out->f = next_text(seed, max);
#define SPILL(f, max)        out->f = next_text(seed, max);
#include "common/records_each.h"

/*
 * Each record goes there and back; none of its beginnings decodes, nor it with a byte too many,
 * unless a higher minor wrote it.
 */
#define RECORD(id, name, number, senders, since, fds)                                              \
    static void round_trip_##name(struct fixture *fixture, uint64_t seed)                          \
    {                                                                                              \
        const unsigned flags = (unsigned)(fds) & ~(unsigned)WIRE_ANNEX;                            \
        struct wire_##name in, out;                                                                \
        uint64_t id_ = seed;                                                                       \
        struct slice record;                                                                       \
                                                                                                   \
        fill_##name(&seed, &in);                                                                   \
        assert_int_equal(wire_put_##name(&fixture->record, &fixture->annex, id_, flags, &in), 0);  \
        assert_int_equal(fixture->annex.len, 0);                                                   \
        record = buf_slice(&fixture->record);                                                      \
        header_check(record, number, id_, flags);                                                  \
        assert_int_equal(wire_get_##name(record, nothing, &out), 0);                               \
        same_##name(&in, &out);                                                                    \
        for (size_t n = 0; n < record.len; n++)                                                    \
            assert_int_equal(                                                                      \
                wire_get_##name(slice_of(record.data, n), nothing, &out), -ERR_SHORT);             \
        assert_int_equal(buf_put_u8(&fixture->record, 0), 0);                                      \
        record = buf_slice(&fixture->record);                                                      \
        assert_int_equal(wire_get_##name(record, nothing, &out), -ERR_TRAILING);                   \
        fixture->record.data[3]++;                                                                 \
        assert_int_equal(wire_get_##name(record, nothing, &out), 0);                               \
        same_##name(&in, &out);                                                                    \
    }
#include "common/records_each.h"

static void test_round_trips(void **state)
{
    for (uint64_t seed = 1; seed < 50; seed++) {
#define RECORD(id, name, number, senders, since, fds) round_trip_##name(*state, seed);
#include "common/records_each.h"
    }
}

/*
 * Any change of one byte either decodes or is refused, and never reads outside (the sanitizer sees
 * that).
 */
static void test_flipped_bytes(void **state)
{
    struct fixture *fixture = *state;
    struct wire_request in, out;
    uint64_t seed = 7;

    fill_request(&seed, &in);
    assert_int_equal(wire_put_request(&fixture->record, &fixture->annex, 1, WIRE_PARCEL, &in), 0);
    for (size_t i = 0; i < fixture->record.len; i++) {
        for (int bit = 0; bit < 8; bit++) {
            struct wire_header header;
            fixture->record.data[i] ^= (uint8_t)(1 << bit);
            wire_get_header(buf_slice(&fixture->record), ROLE_MILTERD, 1, &header);
            wire_get_request(buf_slice(&fixture->record), nothing, &out);
            fixture->record.data[i] ^= (uint8_t)(1 << bit);
        }
    }
}

static void test_header_refusals(void **state)
{
    enum { MAJOR = 1, TYPE = 5, FLAGS = 7, PAYLOAD = 19 };
    static const struct {
        const char *what;
        int at; /* byte to change; -1: none */
        uint8_t to;
        enum wire_role sender;
        int n_fds, err;
    } cases[] = {
        {"fine", -1, 0, ROLE_MULTIPLEXOR, 1, 0},
        {"no descriptor", -1, 0, ROLE_MULTIPLEXOR, 0, -ERR_BAD},
        {"a descriptor too many", -1, 0, ROLE_MULTIPLEXOR, 2, -ERR_BAD},
        {"wrong sender", -1, 0, ROLE_WORKER, 1, -ERR_DENIED},
        {"other major", MAJOR, WIRE_MAJOR + 1, ROLE_MULTIPLEXOR, 1, -ERR_VERSION},
        {"unknown type", TYPE, 99, ROLE_MULTIPLEXOR, 1, -ERR_BAD},
        {"unknown flag", FLAGS, WIRE_SOCKET | 16, ROLE_MULTIPLEXOR, 2, -ERR_BAD},
        {"flag of another type", FLAGS, WIRE_PARCEL, ROLE_MULTIPLEXOR, 1, -ERR_BAD},
        {"payload promises more", PAYLOAD, 5, ROLE_MULTIPLEXOR, 1, -ERR_SHORT},
        {"payload promises less", PAYLOAD, 3, ROLE_MULTIPLEXOR, 1, -ERR_BAD},
        {"higher minor", 3, 9, ROLE_MULTIPLEXOR, 1, 0},
    };
    struct fixture *fixture = *state;
    struct wire_fork fork = {.number = 3};
    struct wire_header header;

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        assert_int_equal(wire_put_fork(&fixture->record, NULL, 1, WIRE_SOCKET, &fork), 0);
        if (cases[i].at >= 0)
            fixture->record.data[cases[i].at] = cases[i].to;
        int err =
            wire_get_header(buf_slice(&fixture->record), cases[i].sender, cases[i].n_fds, &header);
        if (err != cases[i].err)
            fail_msg("%s: %d", cases[i].what, err);
    }
    for (size_t n = 0; n < WIRE_HEADER_BYTES; n++)
        assert_int_equal(
            wire_get_header(slice_of(fixture->record.data, n), ROLE_ANY, 0, &header), -ERR_SHORT);
}

static void test_who_may_send(void **state)
{
    struct fixture *fixture = *state;
    struct wire_quit quit = {0};

    assert_int_equal(wire_put_quit(&fixture->record, NULL, 0, 0, &quit), 0);
    for (int i = 0; i < N_ROWS; i++) {
        for (unsigned role = ROLE_MILTERD; role <= ROLE_WORKER; role <<= 1) {
            struct wire_header header;
            fixture->record.data[5] = (uint8_t)rows[i].type;
            int err =
                wire_get_header(buf_slice(&fixture->record), (enum wire_role)role, 0, &header);
            assert_int_equal(err, (rows[i].senders & role) != 0 ? 0 : -ERR_DENIED);
        }
    }
}

static void test_too_long_for_a_record(void **state)
{
    static uint8_t record[WIRE_RECORD_MAX + 1];
    struct wire_header header;
    struct fixture *fixture = *state;
    struct wire_quit quit = {0};
    size_t payload = sizeof(record) - WIRE_HEADER_BYTES;

    assert_int_equal(wire_put_quit(&fixture->record, NULL, 0, 0, &quit), 0);
    memcpy(record, fixture->record.data, WIRE_HEADER_BYTES);
    record[17] = (uint8_t)(payload >> 16);
    record[18] = (uint8_t)(payload >> 8);
    record[19] = (uint8_t)payload;
    assert_int_equal(
        wire_get_header(slice_of(record, sizeof(record)), ROLE_MULTIPLEXOR, 0, &header), -ERR_BAD);
}

static void test_text_refusals(void **state)
{
    static const char with_nul[] = {'a', '\0', 'b'};
    static char long_text[65];
    struct fixture *fixture = *state;
    struct wire_hello hello = {.role = ROLE_WORKER}, out;

    memset(long_text, 'x', sizeof(long_text));
    hello.build = slice_of(long_text, 64);
    assert_int_equal(wire_put_hello(&fixture->record, NULL, 0, 0, &hello), 0);
    fixture->record.data[fixture->record.len - 1] = '\0';
    assert_int_equal(wire_get_hello(buf_slice(&fixture->record), nothing, &out), -ERR_BAD);
    /* A length over the column's, though the bytes are there. */
    fixture->record.data[fixture->record.len - 65] = 65;
    assert_int_equal(buf_put_u8(&fixture->record, 'x'), 0);
    assert_int_equal(wire_get_hello(buf_slice(&fixture->record), nothing, &out), -ERR_TOOBIG);

    hello.build = slice_of(long_text, 65);
    assert_int_equal(wire_put_hello(&fixture->record, NULL, 0, 0, &hello), -ERR_TOOBIG);
    hello.build = slice_of(with_nul, sizeof(with_nul));
    assert_int_equal(wire_put_hello(&fixture->record, NULL, 0, 0, &hello), -ERR_BAD);
}

/* The largest record without an annex, and one byte more. */
static void test_spilling(void **state)
{
    static char bytes[WIRE_RECORD_MAX];
    struct fixture *fixture = *state;
    struct wire_reply in = {.text = slice_text("no")}, out;
    struct wire_header header;
    size_t room;

    memset(bytes, 7, sizeof(bytes));
    assert_int_equal(wire_put_reply(&fixture->record, &fixture->annex, 1, 0, &in), 0);
    room = WIRE_RECORD_MAX - fixture->record.len;

    in.changes = slice_of(bytes, room);
    assert_int_equal(wire_put_reply(&fixture->record, &fixture->annex, 1, 0, &in), 0);
    assert_int_equal(fixture->record.len, WIRE_RECORD_MAX);
    assert_int_equal(fixture->annex.len, 0);
    assert_int_equal(wire_get_header(buf_slice(&fixture->record), ROLE_WORKER, 0, &header), 0);
    assert_int_equal(wire_get_reply(buf_slice(&fixture->record), nothing, &out), 0);
    same_reply(&in, &out);

    in.changes = slice_of(bytes, room + 1);
    assert_int_equal(wire_put_reply(&fixture->record, &fixture->annex, 1, 0, &in), 0);
    assert_true(fixture->annex.len > room);
    assert_int_equal(wire_get_header(buf_slice(&fixture->record), ROLE_WORKER, 1, &header), 0);
    assert_int_equal(header.flags, WIRE_ANNEX);
    assert_int_equal(
        wire_get_reply(buf_slice(&fixture->record), buf_slice(&fixture->annex), &out), 0);
    same_reply(&in, &out);

    /*
     * Without an annex where there must be one, with bytes left over in it, with none to put it
     * into.
     */
    assert_int_equal(wire_get_reply(buf_slice(&fixture->record), nothing, &out), -ERR_SHORT);
    assert_int_equal(buf_put_u8(&fixture->annex, 0), 0);
    assert_int_equal(wire_get_reply(buf_slice(&fixture->record), buf_slice(&fixture->annex), &out),
        -ERR_TRAILING);
    assert_int_equal(wire_put_reply(&fixture->record, NULL, 1, 0, &in), -ERR_TOOBIG);
    /* The annex of the record before is gone. */
    in.changes = nothing;
    assert_int_equal(wire_put_reply(&fixture->record, &fixture->annex, 1, 0, &in), 0);
    assert_int_equal(fixture->annex.len, 0);
}

static void test_spill_bounds(void **state)
{
    static char bytes[32769];
    struct fixture *fixture = *state;
    struct wire_reply in = {.conn_state = slice_of(bytes, sizeof(bytes))};

    assert_int_equal(wire_put_reply(&fixture->record, &fixture->annex, 1, 0, &in), -ERR_TOOBIG);
    in.conn_state.len--;
    assert_int_equal(wire_put_reply(&fixture->record, &fixture->annex, 1, 0, &in), 0);
}

static void test_fd_index(void **state)
{
    static const struct {
        uint16_t flags;
        enum wire_flag which;
        int index;
    } cases[] = {
        {0, WIRE_PARCEL, -1},
        {WIRE_PARCEL, WIRE_PARCEL, 0},
        {WIRE_PARCEL, WIRE_ANNEX, -1},
        {WIRE_ANNEX, WIRE_ANNEX, 0},
        {WIRE_PARCEL | WIRE_ANNEX, WIRE_PARCEL, 0},
        {WIRE_PARCEL | WIRE_ANNEX, WIRE_ANNEX, 1},
        {WIRE_SOCKET, WIRE_SOCKET, 0},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct wire_header header = {.flags = cases[i].flags};
        assert_int_equal(wire_fd_index(&header, cases[i].which), cases[i].index);
    }
}

/* Patching gives the same bytes as encoding the new values. */
static void test_patching(void **state)
{
    struct fixture *fixture = *state;
    struct wire_request request, got_request;
    struct wire_reply reply, got_reply;
    struct wire_header header;
    uint64_t seed = 11;

    fill_request(&seed, &request);
    assert_int_equal(wire_put_request(&fixture->record, &fixture->annex, 1, 0, &request), 0);
    wire_patch_id(fixture->record.data, UINT64_C(0x0102030405060708));
    wire_patch_request(fixture->record.data, 0xa1a2a3a4, 0xb1b2b3b4, 2);
    request.budget_ms = 0xa1a2a3a4;
    request.generation = 0xb1b2b3b4;
    request.attempt = 2;
    assert_int_equal(wire_get_request(buf_slice(&fixture->record), nothing, &got_request), 0);
    same_request(&request, &got_request);
    assert_int_equal(wire_get_header(buf_slice(&fixture->record), ROLE_MILTERD, 0, &header), 0);
    assert_true(header.id == UINT64_C(0x0102030405060708));

    fill_reply(&seed, &reply);
    assert_int_equal(wire_put_reply(&fixture->record, &fixture->annex, 1, 0, &reply), 0);
    wire_patch_reply(fixture->record.data, 0xa1a2a3a4, 0xb1b2b3b4, 0xc1c2c3c4, 2);
    reply.generation = 0xa1a2a3a4;
    reply.worker_pid = 0xb1b2b3b4;
    reply.queue_us = 0xc1c2c3c4;
    reply.attempt = 2;
    assert_int_equal(wire_get_reply(buf_slice(&fixture->record), nothing, &got_reply), 0);
    same_reply(&reply, &got_reply);
}

static void test_names(void **state)
{
    (void)state;
    for (int i = 0; i < N_ROWS; i++)
        assert_string_equal(wire_type_name(rows[i].type), rows[i].name);
    assert_string_equal(wire_type_name(0), "?");
    assert_string_equal(wire_role_name(ROLE_MILTERD), "milterd");
    assert_string_equal(wire_role_name(ROLE_WORKER), "worker");
    assert_string_equal(wire_role_name(3), "?");
    for (unsigned i = 0; i < OUTCOME_COUNT; i++)
        assert_string_not_equal(wire_outcome_name(i), "?");
    assert_string_equal(wire_outcome_name(OUTCOME_COUNT), "?");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_round_trips, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_flipped_bytes, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_header_refusals, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_who_may_send, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_too_long_for_a_record, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_text_refusals, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_spilling, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_spill_bounds, set_up, tear_down),
        cmocka_unit_test(test_fd_index),
        cmocka_unit_test_setup_teardown(test_patching, set_up, tear_down),
        cmocka_unit_test(test_names),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
