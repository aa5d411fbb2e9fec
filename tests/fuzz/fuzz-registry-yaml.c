/* Registry YAML: whatever is accepted can be written, and reads back to the same; whatever is
 * refused says why in one clean line. */
#include <string.h>

#include "api/registry-yaml.h"
#include "basic/text.h"
#include "fuzz.h"

#define OUT_MAX (64U << 20)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    CLEANUP(registry_freep) Registry *r = NULL, *again = NULL;
    CLEANUP(buffer_done) Buffer first = BUFFER_INIT(OUT_MAX), second = BUFFER_INIT(OUT_MAX);
    RegistryError error = {};
    int e = registry_yaml_parse("fuzz", (const char *)data, len, &r, &error);

    if (e < 0) {
        PROMISE(!r && *error.text);
        PROMISE(text_is_utf8(error.text, strlen(error.text)));
        PROMISE(!strpbrk(error.text, "\n\r\x1b"));
        return 0;
    }
    registry_yaml_write(r, &first);
    PROMISE(buffer_error(&first) == 0);
    PROMISE(registry_yaml_parse("again", first.data, first.len, &again, &error) == 0);
    registry_yaml_write(again, &second);
    PROMISE(first.len == second.len && memcmp(first.data, second.data, first.len) == 0);

    CLEANUP_FREE Want *wants = NULL;
    size_t n = 0;
    PROMISE(registry_wants(r, r->n_pcs ? &r->pcs[0] : NULL, 9500, &wants, &n) == 0);
    for (size_t i = 0; i < n; i++)
        PROMISE(wants[i].timeout_ms >= 100 && wants[i].timeout_ms <= 9500);
    return 0;
}
