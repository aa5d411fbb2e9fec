/* gettext set up by hand, because three of its habits do not fit here.
 *
 * It translates nothing while the locale is "C", and a machine often has no other one generated:
 * C.UTF-8, which glibc always has, is chosen then and LANGUAGE names the language. It answers an
 * empty text with the catalogue's header: i18n_text() does not ask. It would take the numbers'
 * format along: only LC_MESSAGES and LC_CTYPE are ever set. */
#include "basic/i18n.h"

#include <libintl.h>
#include <limits.h>
#include <locale.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#ifndef LOCALE_DIR
#define LOCALE_DIR "/usr/share/locale"
#endif

static const char *from_environment(void)
{
    static const char *const names[] = {"LC_ALL", "LC_MESSAGES", "LANG"};

    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        const char *value = getenv(names[i]);
        if (value && value[0])
            return value;
    }
    return "C";
}

static int beside_program(char *ret, size_t size)
{
    char self[PATH_MAX];
    ssize_t len = readlink("/proc/self/exe", self, sizeof self - 1);

    if (len <= 0)
        return -1;
    self[len] = '\0';
    char *slash = strrchr(self, '/');
    if (!slash)
        return -1;
    *slash = '\0';
    int n = snprintf(ret, size, "%s/../share/locale", self);
    return n > 0 && (size_t)n < size && access(ret, R_OK) == 0 ? 0 : -1;
}

static void bind_catalogues(void)
{
    char path[PATH_MAX + 32];
    const char *dir = getenv("SERVICES_LOCALE_DIR");

    if (!dir || !dir[0])
        dir = beside_program(path, sizeof path) == 0 ? path : LOCALE_DIR;
    bindtextdomain(I18N_DOMAIN, dir);
    bind_textdomain_codeset(I18N_DOMAIN, "UTF-8");
    textdomain(I18N_DOMAIN);
}

void i18n_init(const char *language)
{
    const char *wanted = language ? language : from_environment();
    const char *given = getenv("LANGUAGE");
    bool is_plain = strcmp(wanted, "C") == 0 || strcmp(wanted, "POSIX") == 0;
    char word[32];

    /* as gettext has it: LANGUAGE comes first, but not in "C", where C.UTF-8 is not "C" */
    snprintf(word, sizeof word, "%.*s", (int)strcspn(wanted, ".@"), wanted);
    setlocale(LC_CTYPE, "C.UTF-8");
    setlocale(LC_MESSAGES, "C.UTF-8");
    if (language || is_plain || !given || !given[0])
        setenv("LANGUAGE", is_plain || strcmp(word, "C") == 0 ? "en" : word, 1);
    bind_catalogues();
}

const char *i18n_language(void)
{
    /* TRANSLATORS: the two letters of the language of this catalogue, as in "es" */
    return _("en");
}

const char *i18n_text(const char *text)
{
    return text[0] ? gettext(text) : text;
}

const char *i18n_plural(const char *one, const char *many, unsigned long n)
{
    return ngettext(one, many, n);
}

const char *i18n_context(const char *key, const char *text)
{
    const char *found = gettext(key);

    return found == key ? text : found;
}
