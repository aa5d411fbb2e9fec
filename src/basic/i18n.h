/* Translation of what a person reads, by gettext, in one domain for both programs.
 *
 * `_("text")` translates now, `N_("text")` only marks a text of a table, `P_("%d day", "%d days",
 * n)` chooses the plural, `C_("alert", "open")` tells one "open" from another. Numbers and formats
 * stay those of the C locale: what is written into JSON or a file never depends on a language. */
#pragma once

#define I18N_DOMAIN "services_monitor"

/* language NULL: what the environment says (LC_ALL, LC_MESSAGES, LANG); "en", "es", "es_ES.UTF-8"
 * and the like otherwise. Catalogues are looked for in $SERVICES_LOCALE_DIR, beside the program
 * (../share/locale), then in the place of the build. Unknown languages mean English. */
void i18n_init(const char *language);
const char *i18n_language(void); /* of the catalogue in use: "en" where there is none */

const char *i18n_text(const char *text) __attribute__((format_arg(1)));
const char *i18n_plural(const char *one, const char *many, unsigned long n)
    __attribute__((format_arg(1), format_arg(2)));
const char *i18n_context(const char *key, const char *text); /* see C_() */

#define _(text)           i18n_text(text)
#define N_(text)          (text)
#define P_(one, many, n)  i18n_plural(one, many, n)
#define C_(context, text) i18n_context(context "\004" text, text)
