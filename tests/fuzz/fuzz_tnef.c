/* What a part may carry that is no container: any bytes as TNEF, as S/MIME, or as a text with
 * encoded files in it, in base64 or as they are. The first byte picks which. Never a crash, and
 * what holds for every message. */
#include "tests/fuzz/fuzz.h"

#include <stdlib.h>
#include <string.h>

#include "tests/unit/mime_fixture.h"
#include "worker/mime_impl.h"

enum { IS_TEXT = 1, IS_BASE64 = 2, IS_SMALL = 4, IS_SMIME = 8 };

static const char *type_of(uint8_t picked)
{
    if ((picked & IS_TEXT) != 0)
        return "text/plain";
    return (picked & IS_SMIME) != 0 ? "application/pkcs7-mime" : "application/ms-tnef";
}

static struct mime_fixture *fixture(bool is_small)
{
    static const char *const limits[] = {"worker.max_parts=4", "worker.max_depth=3",
        "worker.max_decoded=65536", "worker.max_text=1024", NULL};
    static struct mime_fixture fixtures[2];
    struct mime_fixture *f = &fixtures[is_small];
    if (f->arena == NULL)
        mime_fixture_open(f, is_small ? limits : NULL);
    return f;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    if (len == 0)
        return 0;
    bool is_base64 = (data[0] & IS_BASE64) != 0;
    char header[200];
    int n = snprintf(header, sizeof(header),
        "Subject: x\r\nContent-Type: %s\r\nContent-Transfer-Encoding: %s\r\n\r\n", type_of(data[0]),
        is_base64 ? "base64" : "binary");
    size_t body = len - 1;
    char *mail = malloc((size_t)n + body * 2 + 8);
    if (mail == NULL)
        abort();
    memcpy(mail, header, (size_t)n);
    if (is_base64)
        body = mime_base64_encode(data + 1, body, mail + n);
    else if (body > 0)
        memcpy(mail + n, data + 1, body);
    struct mime_fixture *f = fixture((data[0] & IS_SMALL) != 0);
    mime_fixture_read(f, mail, (size_t)n + body);
    free(mail);
    mime_fixture_check(f);
    return 0;
}
