/* The head of an HTTP reply: a verdict never changes when more bytes arrive, and the first byte
 * that is wrong is enough. */
#include "api/probe-http.h"
#include "fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    const char *text = (const char *)data;
    int status = -1, verdict = http_head_parse(text, len, &status);

    if (verdict > 0)
        PROMISE(verdict == 1 && status >= 100 && status <= 599);
    if (verdict == 0)
        PROMISE(len <= HTTP_HEAD_MAX);
    for (size_t part = 1; part < 8; part++) {
        int early_status = -1, early = http_head_parse(text, len * part / 8, &early_status);
        if (early > 0)
            PROMISE(verdict == 1 && early_status == status);
        if (early < 0)
            PROMISE(verdict < 0);
    }
    return 0;
}
