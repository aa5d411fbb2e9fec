/* JSON: what is accepted is valid UTF-8 without NUL and no deeper than the maximum; a string
 * survives writing and reading; what we write is always JSON. */
#include <string.h>

#include "basic/macro.h"
#include "basic/text.h"
#include "common/json.h"
#include "fuzz.h"

static void walk(const Json *j, int depth)
{
    const char *text = json_as_string(j, "");

    PROMISE(depth <= JSON_DEPTH_MAX);
    PROMISE(text_is_utf8(text, strlen(text)));
    json_as_int(j, 0);
    json_as_double(j, 0);
    json_as_bool(j, false);
    if (!json_is_array(j) && !json_is_object(j))
        return;
    for (const Json *item = json_first(j); item; item = json_next(item)) {
        PROMISE(!json_is_object(j) || json_key(item));
        walk(item, depth + 1);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    CLEANUP(json_freep) Json *j = json_parse((const char *)data, len), *again = NULL;
    CLEANUP(buffer_done) Buffer b = BUFFER_INIT(64U << 20);

    if (j)
        walk(j, 0);
    json_open_object(&b, NULL);
    json_stringn(&b, "text", (const char *)data, len);
    json_close_object(&b);
    PROMISE(buffer_error(&b) == 0);
    again = json_parse(b.data, b.len);
    if (len && memchr(data, 0, len))
        return 0; /* json_parse() refuses an escaped NUL, on purpose */
    PROMISE(again);
    const char *text = json_as_string(json_get(again, "text"), NULL);
    PROMISE(text);
    if (text_is_utf8((const char *)data, len))
        PROMISE(strlen(text) == len && memcmp(text, data, len) == 0);
    return 0;
}
