/* The validators: what passes has none of the characters that could do harm further on, whatever
 * the validator. */
#include <string.h>

#include "basic/macro.h"
#include "basic/text.h"
#include "common/name.h"
#include "common/unit.h"
#include "fuzz.h"

#define TEXT_MAX 128

/* No option, no path, nothing for a shell. */
static void check_word(const char *s, size_t max)
{
    PROMISE(*s && *s != '-' && strlen(s) <= max);
    PROMISE(!strpbrk(s, "/ \t\r\n'\"`$;|&<>(){}[]*?!~#%="));
}

static void check_line(const char *s, size_t max)
{
    PROMISE(*s && strlen(s) <= max);
    for (const char *p = s; *p; p++)
        PROMISE(*p > ' ' && *p < 0x7F);
}

static void check_text(const char *s)
{
    char clean[TEXT_MAX + 1];

    PROMISE(text_is_utf8(s, strlen(s)) && strlen(s) <= TEXT_MAX);
    text_clean(clean, sizeof(clean), s, strlen(s));
    PROMISE(strcmp(clean, s) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    CLEANUP_FREE char *s = malloc(len + 1);

    if (!s)
        return 0;
    if (len)
        memcpy(s, data, len);
    s[len] = '\0';
    if (name_is_id(s))
        check_word(s, ID_MAX);
    if (name_is_ssh_host(s))
        check_word(s, ID_MAX);
    if (name_is_unit(s)) {
        check_word(s, UNIT_MAX);
        PROMISE(strchr(s, '.'));
    }
    if (name_is_health_path(s)) {
        check_line(s, 1024);
        PROMISE(*s == '/' && !strchr(s, '#'));
    }
    if (name_is_health_url(s)) {
        check_line(s, 1024);
        PROMISE(strncmp(s, "http://", 7) == 0 || strncmp(s, "https://", 8) == 0);
        const char *host = strstr(s, "://") + 3;
        PROMISE(!memchr(host, '@', strcspn(host, "/?")));
    }
    if (name_is_text(s, TEXT_MAX))
        check_text(s);
    return 0;
}
