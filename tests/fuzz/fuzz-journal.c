/* journalctl -o json of a hostile PC: the answer is always one JSON array of as many objects as
 * were counted. */
#include <string.h>

#include "api/journal.h"
#include "basic/macro.h"
#include "common/json.h"
#include "fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    CLEANUP(buffer_done) Buffer out = BUFFER_INIT(16U << 20);
    CLEANUP(json_freep) Json *array = NULL;
    size_t n = journal_to_json((const char *)data, len, &out);

    PROMISE(n <= JOURNAL_LINES_MAX);
    PROMISE(buffer_error(&out) == 0);
    array = json_parse(out.data, out.len);
    PROMISE(array && json_is_array(array));
    PROMISE(json_length(array) == n);
    for (const Json *line = json_first(array); line; line = json_next(line)) {
        const char *message = json_as_string(json_get(line, "message"), NULL);
        PROMISE(json_is_object(line) && message);
        for (const char *p = message; *p; p++)
            PROMISE((unsigned char)*p >= 0x20 || *p == '\n' || *p == '\t');
    }
    return 0;
}
