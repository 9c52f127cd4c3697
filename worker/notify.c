#include "worker/notify.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "common/address.h"
#include "common/err.h"
#include "common/log.h"
#include "worker/deeds.h"
#include "worker/job.h"
#include "worker/keyed_hash.h"
#include "worker/notify_ledger.h"
#include "worker/notify_queue.h"
#include "worker/trap.h"
#include "worker/trap_facts.h"

#define NOTIFY_SECRET ".secret"

struct notifier {
    struct job *job;
    const struct conf *conf;
    struct tally *tally;
    struct notify_queue queue;
    uint8_t secret[KEYED_HASH_BYTES];
    char sha256[65]; /* of the message */
};

/* ---- who must not be told ---- */

bool notify_is_own(struct job *job)
{
    uint8_t secret[KEYED_HASH_BYTES];
    struct notify_queue queue;
    if (header_find(job_headers(job), slice_text(NOTIFY_MARK_NAME), 1) == NULL ||
        notify_queue_open(job->conf, &queue) != 0)
        return false;
    const int rc = keyed_hash_secret(queue.folder, NOTIFY_SECRET, false, secret);
    notify_queue_close(&queue);
    return rc == 0 && trap_mark_is_good(job, NOTIFY_MARK_NAME, secret);
}

static bool begins(struct slice text, const char *with)
{
    const size_t len = strlen(with);
    return text.len >= len && strncasecmp(text.data, with, len) == 0;
}

static bool has(struct slice text, const char *word)
{
    const size_t len = strlen(word);
    for (size_t i = 0; i + len <= text.len; i++) {
        if (strncasecmp(text.data + i, word, len) == 0)
            return true;
    }
    return false;
}

static bool ends(struct slice text, const char *with)
{
    const size_t len = strlen(with);
    return text.len >= len && strncasecmp(text.data + text.len - len, with, len) == 0;
}

/* Names by which programs send (RFC 3834 section 2, RFC 2142). */
static bool is_program(struct slice sender)
{
    const struct slice local = address_local(sender);
    return slice_equal_nocase(local, slice_text("mailer-daemon")) ||
           slice_equal_nocase(local, slice_text("postmaster")) || begins(local, "owner-") ||
           ends(local, "-owner") || ends(local, "-request") || ends(local, "-bounces") ||
           has(local, "-bounces+"); /* with the recipient's address behind it */
}

static struct slice without_blanks(struct slice text)
{
    while (text.len > 0 && strchr(" \t\r\n", text.data[0]) != NULL && text.data[0] != '\0')
        text = slice_of(text.data + 1, text.len - 1);
    return text;
}

static const char *look_at_field(const struct header_field *field)
{
    const struct slice value = without_blanks(field->value);
    if (begins(field->name, "List-"))
        return "list";
    if (slice_equal_nocase(field->name, slice_text("Precedence")) &&
        (begins(value, "bulk") || begins(value, "list") || begins(value, "junk")))
        return "list";
    if (slice_equal_nocase(field->name, slice_text("Auto-Submitted")) && !begins(value, "no"))
        return "automatic";
    return NULL;
}

const char *notify_why_not_sender(struct job *job)
{
    const struct slice sender = address_strip(job->envelope.sender);
    const struct header_list *headers = job_headers(job);
    if (sender.len == 0)
        return "null sender";
    if (job->has_virus)
        return "virus";
    if (is_program(sender) || !address_is_valid(sender, false))
        return "automatic";
    for (uint32_t i = 0; i < headers->n; i++) {
        const char *why = look_at_field(&headers->items[i]);
        if (why != NULL)
            return why;
    }
    return headers->is_cut ? "automatic" : NULL; /* who knows what the rest says */
}

const char *notify_why_off(const struct conf *conf, bool is_to_sender)
{
    const bool is_on = address_is_valid(slice_text(conf->notify.from), false) &&
                       (is_to_sender || address_is_valid(slice_text(conf->notify.admin), false));
    return is_on ? NULL : "off";
}

/* ---- one notice ---- */

static uint64_t first_bits(const uint8_t *hash)
{
    uint64_t bits = 0;
    for (int i = 0; i < 8; i++)
        bits = bits << 8 | hash[i];
    return bits | 1; /* 0 means none */
}

/* The same for each try of a mail, whoever gets it. n: which of its kind. */
static void hash_notice(struct notifier *notifier, bool is_to_sender, uint32_t n, uint8_t *out)
{
    const uint8_t which[2] = {is_to_sender ? 's' : 'a', (uint8_t)n};
    const struct slice pieces[] = {slice_text(notifier->sha256),
        address_strip(notifier->job->envelope.sender), slice_of(which, sizeof(which))};
    keyed_hash(notifier->secret, pieces, 3, out);
}

/* Of the address without regard to case: a limit must not be dodged by spelling. */
static uint64_t hash_sender(struct notifier *notifier)
{
    const struct slice sender = address_strip(notifier->job->envelope.sender);
    char lower[ADDRESS_MAX];
    uint8_t hash[KEYED_HASH_BYTES];
    const size_t len = sender.len < sizeof(lower) ? sender.len : sizeof(lower);
    for (size_t i = 0; i < len; i++) {
        const char c = sender.data[i];
        lower[i] = c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c;
    }
    const struct slice pieces[] = {slice_text("sender"), slice_of(lower, len)};
    keyed_hash(notifier->secret, pieces, 2, hash);
    return first_bits(hash);
}

static int queue_notice(
    struct notifier *notifier, const struct deeds_notice *notice, const uint8_t *hash)
{
    struct job *job = notifier->job;
    const struct slice sender = address_strip(job->envelope.sender);
    const struct header_field *id = header_find(job_headers(job), slice_text("Message-ID"), 1);
    char name[KEYED_HASH_NAME_CHARS + 1];
    struct buf bytes;
    keyed_hash_name(hash, name);
    const struct notify_mail mail = {.from = notifier->conf->notify.from,
        .to = notice->is_to_sender ? arena_memdup0(job->arena, sender.data, sender.len)
                                   : notifier->conf->notify.admin,
        .name = name,
        .secret = notifier->secret,
        .subject = notice->subject,
        .text = notice->text,
        .answers = notice->is_to_sender && id != NULL ? id->value : slice_of(NULL, 0)};
    buf_init(&bytes, 4 * NOTIFY_TEXT_MAX);
    int rc = notify_mail_put(&bytes, &mail, (int64_t)time(NULL));
    if (rc == 0)
        rc = notify_queue_put(&notifier->queue, name, mail.to, buf_slice(&bytes),
            notice->is_to_sender ? NOTIFY_QUEUE_SENDERS : NOTIFY_QUEUE_MAX);
    buf_clear(&bytes);
    return rc;
}

static const char *const claim_words[] = {
    [NOTIFY_CLAIMED] = "made",
    [NOTIFY_MADE] = "made before",
    [NOTIFY_OVER_LIMIT] = "over notify.limit",
    [NOTIFY_SENDER_LIMIT] = "over notify.sender_limit",
};

static void tell(struct notifier *notifier, const struct deeds_notice *notice, const char *word)
{
    deeds_log(notifier->job, "notify",
        arena_printf(
            notifier->job->arena, "%s: %s", notice->is_to_sender ? "sender" : "admin", word));
}

static void count(struct notifier *notifier, const char *result)
{
    deeds_count(notifier->tally, "notices", "Notices that the filter asked for.", "result", result);
}

static void make_notice(
    struct notifier *notifier, const struct deeds_notice *notice, uint32_t n_of_kind)
{
    const struct conf *conf = notifier->conf;
    const struct notify_bounds bounds = {.limit = conf->notify.limit,
        .sender_limit = conf->notify.sender_limit,
        .period_secs = conf->notify.period / 1000};
    enum notify_claim claim = NOTIFY_CLAIMED;
    uint8_t hash[KEYED_HASH_BYTES];
    hash_notice(notifier, notice->is_to_sender, n_of_kind, hash);
    int rc = notify_ledger_claim(notifier->queue.folder, first_bits(hash),
        notice->is_to_sender ? hash_sender(notifier) : 0, &bounds, &claim);
    if (rc == 0 && claim == NOTIFY_CLAIMED) {
        rc = queue_notice(notifier, notice, hash);
        if (rc != 0)
            notify_ledger_unclaim(notifier->queue.folder, first_bits(hash));
    }
    if (rc != 0) {
        log_warn("notify: a notice cannot be made: %s", err_text(rc));
        count(notifier, "failed");
    } else if (claim != NOTIFY_CLAIMED && claim != NOTIFY_MADE) {
        log_warn("notify: a notice is not made: %s", claim_words[claim]);
        count(notifier, "limited");
    } else {
        count(notifier, claim == NOTIFY_MADE ? "again" : "made");
    }
    tell(notifier, notice, rc != 0 ? "failed" : claim_words[claim]);
}

/* ---- all of them ---- */

static void make_all(struct notifier *notifier)
{
    const struct deeds *deeds = notifier->job->deeds;
    uint32_t n_of_kind[2] = {0, 0};
    trap_facts_sha256(notifier->job->message, notifier->sha256);
    for (uint32_t i = 0; i < deeds->n_notices; i++) {
        const struct deeds_notice *notice = &deeds->notices[i];
        make_notice(notifier, notice, n_of_kind[notice->is_to_sender]++);
    }
}

void notify_do(struct job *job, int64_t deadline_ms, struct tally *tally)
{
    struct notifier notifier = {.job = job, .conf = job->conf, .tally = tally};
    struct notify_sent sent = {.n_sent = 0};
    int rc = notify_queue_open(job->conf, &notifier.queue);
    if (rc == 0) {
        rc = keyed_hash_secret(notifier.queue.folder, NOTIFY_SECRET, true, notifier.secret);
        if (rc != 0)
            notify_queue_close(&notifier.queue);
    }
    if (rc != 0) {
        log_warn("notify: the folder notify in worker.state_dir cannot be used, and no notice is "
                 "sent: %s",
            err_text(rc));
        for (uint32_t i = 0; i < job->deeds->n_notices; i++)
            count(&notifier, "failed");
        deeds_log(job, "notify", "failed");
        return;
    }
    make_all(&notifier);
    notify_queue_send(&notifier.queue, deadline_ms, &sent);
    for (unsigned i = 0; i < sent.n_sent; i++)
        count(&notifier, "sent");
    for (unsigned i = 0; i < sent.n_failed; i++)
        count(&notifier, "failed");
    notify_queue_close(&notifier.queue);
}
