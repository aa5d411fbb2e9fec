/* config.yaml, read by one table: a key is one line of `keys[]` with its type, range, default and
 * meaning, and parsing, defaults, --help and the check of the man page all follow from it.
 *
 * Keys with a dot are written nested or as they are printed:
 *
 *     features:                 features.actions: true
 *       actions: true
 *
 * A config is checked whole before anybody sees it; on any error nothing of it counts. No secret is
 * ever in it: the mail password is in a file of its own, whose path is given. */
#include "api/config.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api/paths.h"
#include "api/suggest.h"
#include "api/yaml-tree.h"
#include "basic/i18n.h"
#include "basic/macro.h"
#include "basic/text.h"
#include "common/name.h"

#define CONFIG_BYTES_MAX (256U << 10)
#define MAIL_MAX         254
#define TEXT_MAX         256

typedef enum KeyKind { KEY_TEXT, KEY_NUMBER, KEY_BOOL, KEY_LIST } KeyKind;

typedef struct Key {
    const char *name;
    KeyKind kind;
    size_t offset;
    bool (*valid)(const char *s); /* text, and a list's items */
    uint32_t min, max;            /* number */
    uint32_t number;              /* default */
    const char *text;             /* default, NULL: none */
    const char *form;             /* what a value looks like; "" for a number: its range says it */
    const char *meaning;
} Key;

static bool is_address(const char *s)
{
    char host[64];
    uint16_t port;

    return config_split_address(s, host, &port) == 0;
}

/* The authority of "scheme://authority" with nothing behind it. */
static bool is_bare_url(const char *s)
{
    const char *authority = strstr(s, "://");

    return authority && name_is_health_url(s) && !strpbrk(authority + 3, "/?");
}

static bool is_smtp_url(const char *s)
{
    char http[TEXT_MAX + 16];
    const char *rest = strncmp(s, "smtp://", 7) == 0    ? s + 7
                       : strncmp(s, "smtps://", 8) == 0 ? s + 8
                                                        : NULL;

    if (!rest || strlen(rest) > TEXT_MAX)
        return false;
    snprintf(http, sizeof(http), "http://%s", rest);
    return is_bare_url(http);
}

static bool is_mail(const char *s)
{
    const char *at = strchr(s, '@');

    if (!at || at == s || !at[1] || strchr(at + 1, '@') || strlen(s) > MAIL_MAX)
        return false;
    for (const char *p = s; *p; p++)
        if (!isgraph((unsigned char)*p) || strchr("<>()[]\\,;:\"", *p))
            return false;
    return true;
}

static bool is_user(const char *s)
{
    return *s && name_is_text(s, TEXT_MAX);
}

static bool is_file(const char *s)
{
    return *s == '/' && name_is_text(s, PATH_MAX - 1);
}

/* A Host without port: a name, or a literal address (IPv6 in brackets, as in a Host header). */
static bool is_host(const char *s)
{
    char inner[64];
    struct in6_addr address;
    size_t len = strlen(s);

    if (*s != '[')
        return name_is_id(s);
    if (len < 4 || len > sizeof(inner) || s[len - 1] != ']')
        return false;
    snprintf(inner, sizeof(inner), "%.*s", (int)len - 2, s + 1);
    return inet_pton(AF_INET6, inner, &address) == 1;
}

#define FORM_URL "http(s)://HOST[:PORT][/PATH]"

#define TEXT(name, field, valid, text, form, meaning)                                \
    {                                                                                \
        name, KEY_TEXT, offsetof(Config, field), valid, 0, 0, 0, text, form, meaning \
    }
#define NUMBER(name, field, min, max, number, meaning)                                       \
    {                                                                                        \
        name, KEY_NUMBER, offsetof(Config, field), NULL, min, max, number, NULL, "", meaning \
    }
#define BOOL(name, field, meaning)                                                                 \
    {                                                                                              \
        name, KEY_BOOL, offsetof(Config, field), NULL, 0, 0, 0, NULL, N_("true or false"), meaning \
    }
#define LIST(name, field, valid, form, meaning)                                      \
    {                                                                                \
        name, KEY_LIST, offsetof(Config, field), valid, 0, 0, 0, NULL, form, meaning \
    }

static const Key keys[] = {
    TEXT("listen", listen, is_address, "127.0.0.1:8485", N_("ADDRESS:PORT (IPv6 in [])"),
         N_("where the API listens; a loopback address opens its IPv4 and IPv6 twin too")),
    TEXT("self", self, name_is_id, NULL, N_("a pc_id or none"),
         N_("which PC this is; none only observes others")),
    NUMBER("interval_ms", interval_ms, 1000, 3600000, 10000,
           N_("time between two full checks of a PC")),
    NUMBER("alert_after_s", alert_after_s, 0, 86400, 300,
           N_("how long something is wrong before it is an alert")),
    NUMBER("reboot_grace_s", reboot_grace_s, 0, 3600, 120,
           N_("time a PC has to start its services after a reboot")),
    NUMBER("retention.checks_days", retention_checks_days, 1, 366, 7,
           N_("days that single checks are kept")),
    NUMBER("retention.transitions_days", retention_transitions_days, 1, 3660, 730,
           N_("days that transitions and hourly figures are kept")),
    LIST("hosts", hosts, is_host, N_("a list of host names"),
         N_("further Host names that the API answers to, without port")),
    LIST("origins", origins, is_bare_url, N_("a list like http://HOST[:PORT]"),
         N_("further web origins that may use the API")),
    BOOL("features.actions", feature_actions, N_("allow start, stop and restart of services")),
    BOOL("services_monitor.auto_fix", auto_fix, N_("restart failed services by itself")),
    NUMBER("services_monitor.auto_fix_budget", auto_fix_budget, 1, 100, 3,
           N_("most restarts by itself within the window")),
    NUMBER("services_monitor.auto_fix_window_s", auto_fix_window_s, 60, 86400, 600,
           N_("length of that window")),
    TEXT("notify.webhook_url", notify_webhook_url, name_is_health_url, NULL, FORM_URL,
         N_("gets each alert as JSON")),
    TEXT("notify.ntfy_url", notify_ntfy_url, name_is_health_url, NULL, FORM_URL,
         N_("an ntfy topic that gets each alert")),
    TEXT("notify.smtp_url", notify_smtp_url, is_smtp_url, NULL, "smtp(s)://HOST[:PORT]",
         N_("the mail server that takes each alert")),
    TEXT("notify.mail_from", notify_mail_from, is_mail, NULL, "NAME@DOMAIN",
         N_("sender of the mails")),
    TEXT("notify.mail_to", notify_mail_to, is_mail, NULL, "NAME@DOMAIN",
         N_("receiver of the mails")),
    TEXT("notify.smtp_user", notify_smtp_user, is_user, NULL, N_("text"),
         N_("user name at the mail server")),
    TEXT("notify.smtp_password_file", notify_smtp_password_file, is_file, NULL,
         N_("an absolute path"), N_("file with the password for the mail server")),
    TEXT("notify.heartbeat_url", notify_heartbeat_url, name_is_health_url, NULL, FORM_URL,
         N_("called as long as the daemon itself is well")),
    NUMBER("notify.heartbeat_s", notify_heartbeat_s, 10, 86400, 60,
           N_("time between two of these calls")),
};

static void *field(Config *c, const Key *k)
{
    return (char *)c + k->offset;
}

Config *config_free(Config *c)
{
    if (!c)
        return NULL;
    for (size_t i = 0; i < ELEMENTS(keys); i++) {
        if (keys[i].kind == KEY_TEXT)
            freep(field(c, &keys[i]));
        if (keys[i].kind != KEY_LIST)
            continue;
        ConfigList *list = field(c, &keys[i]);
        while (list->n > 0)
            free(list->items[--list->n]);
    }
    free(c);
    return NULL;
}

int config_default(Config **ret)
{
    CLEANUP(config_freep) Config *c = calloc(1, sizeof(*c));

    if (!c)
        return -ENOMEM;
    for (size_t i = 0; i < ELEMENTS(keys); i++) {
        if (keys[i].kind == KEY_NUMBER)
            *(uint32_t *)field(c, &keys[i]) = keys[i].number;
        if (keys[i].kind != KEY_TEXT || !keys[i].text)
            continue;
        char *text = strdup(keys[i].text);
        if (!text)
            return -ENOMEM;
        *(char **)field(c, &keys[i]) = text;
    }
    *ret = TAKE_PTR(c);
    return 0;
}

static bool list_equal(const ConfigList *a, const ConfigList *b)
{
    bool same = a->n == b->n;

    for (size_t i = 0; same && i < a->n; i++)
        same = strcmp(a->items[i], b->items[i]) == 0;
    return same;
}

static bool value_equal(const Key *k, const void *a, const void *b)
{
    switch (k->kind) {
    case KEY_NUMBER: return *(const uint32_t *)a == *(const uint32_t *)b;
    case KEY_BOOL: return *(const bool *)a == *(const bool *)b;
    case KEY_LIST: return list_equal(a, b);
    case KEY_TEXT: break;
    }
    const char *x = *(char *const *)a, *y = *(char *const *)b;
    return x && y ? strcmp(x, y) == 0 : x == y;
}

size_t config_changes(const Config *a, const Config *b, Buffer *out)
{
    size_t n = 0;

    for (size_t i = 0; i < ELEMENTS(keys); i++) {
        size_t at = keys[i].offset;
        if (value_equal(&keys[i], (const char *)a + at, (const char *)b + at))
            continue;
        buffer_printf(out, "%s%s", n ? ", " : "", keys[i].name);
        n++;
    }
    return n;
}

int config_split_address(const char *text, char *host, uint16_t *ret_port)
{
    char name[64];
    uint8_t address[16];
    const char *colon = strrchr(text, ':');
    bool bracket = *text == '[';
    size_t len = colon ? (size_t)(colon - text) : 0,
           digits = colon ? strspn(colon + 1, "0123456789") : 0;

    if (len == 0 || len >= sizeof(name) || digits == 0 || digits > 5 || colon[1 + digits] ||
        colon[1] == '0')
        return -EINVAL;
    if (bracket && (len < 3 || text[len - 1] != ']'))
        return -EINVAL;
    snprintf(name, sizeof(name), "%.*s", bracket ? (int)len - 2 : (int)len, text + bracket);
    if (inet_pton(bracket ? AF_INET6 : AF_INET, name, address) != 1)
        return -EINVAL;
    unsigned long port = strtoul(colon + 1, NULL, 10);
    if (port > UINT16_MAX)
        return -EINVAL;
    text_copy(host, 64, name);
    *ret_port = (uint16_t)port;
    return 0;
}

/* Reading */

typedef struct Reader {
    YamlTree *tree;
    Config *config;
    uint32_t seen[ELEMENTS(keys)]; /* line where a key was given, 0: not yet */
} Reader;

static int wrong_value(Reader *r, const Key *k, const YamlNode *value)
{
    char shown[96];

    if (k->valid == name_is_health_url)
        text_copy(shown, sizeof(shown), _("the value")); /* a URL may hold a secret */
    else
        yaml_describe(value, shown, sizeof(shown));
    if (k->kind == KEY_NUMBER)
        return yaml_fail(r->tree, value->line, _("%s: %s is not right, use a number from %u to %u"),
                         k->name, shown, k->min, k->max);
    return yaml_fail(r->tree, value->line, _("%s: %s is not right, use %s"), k->name, shown,
                     i18n_text(k->form));
}

static int read_text(Reader *r, const Key *k, const YamlNode *value, char **ret)
{
    if (value->kind != YAML_SCALAR || !k->valid(value->text))
        return wrong_value(r, k, value);
    char *text = strdup(value->text);
    if (!text)
        return -ENOMEM;
    free(*ret);
    *ret = text;
    return 0;
}

static int read_list(Reader *r, const Key *k, const YamlNode *value, ConfigList *ret)
{
    if (value->kind != YAML_LIST)
        return wrong_value(r, k, value);
    for (const YamlNode *item = yaml_first(r->tree, value); item; item = yaml_next(r->tree, item)) {
        if (ret->n == CONFIG_LIST_MAX)
            return yaml_fail(r->tree, item->line, _("%s: more than %d entries"), k->name,
                             CONFIG_LIST_MAX);
        int e = read_text(r, k, item, &ret->items[ret->n]);
        if (e < 0)
            return e;
        ret->n++;
    }
    return 0;
}

static int read_value(Reader *r, const Key *k, const YamlNode *value)
{
    void *into = field(r->config, k);
    uint64_t number;

    if (yaml_is_null(value))
        return 0; /* a key without value: the default */
    switch (k->kind) {
    case KEY_TEXT: return read_text(r, k, value, into);
    case KEY_LIST: return read_list(r, k, value, into);
    case KEY_BOOL: return yaml_as_bool(value, into) ? 0 : wrong_value(r, k, value);
    case KEY_NUMBER:
        if (!yaml_as_number(value, &number) || number < k->min || number > k->max)
            return wrong_value(r, k, value);
        *(uint32_t *)into = (uint32_t)number;
        return 0;
    }
    return 0;
}

static int unknown_key(Reader *r, const char *name, const YamlNode *member)
{
    Suggestion suggestion = SUGGESTION_INIT(name);
    char why[256], clean[128];

    text_clean(clean, sizeof(clean), name, strlen(name));
    snprintf(why, sizeof(why), _("the key %s is not known"), clean);
    for (size_t i = 0; i < ELEMENTS(keys); i++)
        suggest_try(&suggestion, keys[i].name);
    suggest_append(&suggestion, why, sizeof(why));
    return yaml_fail(r->tree, member->line, "%s%s", why,
                     suggestion.best ? "" : _(", see services_api(1) for all keys"));
}

static const Key *find_key(const char *name)
{
    for (size_t i = 0; i < ELEMENTS(keys); i++)
        if (strcmp(keys[i].name, name) == 0)
            return &keys[i];
    return NULL;
}

static bool is_section(const char *name)
{
    size_t len = strlen(name);

    for (size_t i = 0; i < ELEMENTS(keys); i++)
        if (strncmp(keys[i].name, name, len) == 0 && keys[i].name[len] == '.')
            return true;
    return false;
}

static int read_key(Reader *r, const char *name, const YamlNode *member)
{
    const Key *k = find_key(name);

    if (!k)
        return unknown_key(r, name, member);
    uint32_t *seen = &r->seen[k - keys];
    if (*seen)
        return yaml_fail(r->tree, member->line, _("%s: it is in line %u already, leave one out"),
                         k->name, *seen);
    *seen = member->line;
    return read_value(r, k, member);
}

static int read_section(Reader *r, const YamlNode *section)
{
    char name[TEXT_MAX];

    if (yaml_is_null(section))
        return 0;
    if (section->kind != YAML_MAPPING)
        return yaml_fail(r->tree, section->line,
                         _("%s: is not a section, write its keys below it, indented"),
                         section->key);
    for (const YamlNode *m = yaml_first(r->tree, section); m; m = yaml_next(r->tree, m)) {
        snprintf(name, sizeof(name), "%s.%s", section->key, m->key);
        int e = read_key(r, name, m);
        if (e < 0)
            return e;
    }
    return 0;
}

static int read_top(Reader *r)
{
    const YamlNode *root = yaml_root(r->tree);

    if (yaml_is_null(root))
        return 0;
    if (root->kind != YAML_MAPPING)
        return yaml_fail(r->tree, root->line,
                         _("it is not a mapping, write lines like \"interval_ms: 10000\""));
    for (const YamlNode *m = yaml_first(r->tree, root); m; m = yaml_next(r->tree, m)) {
        int e = is_section(m->key) ? read_section(r, m) : read_key(r, m->key, m);
        if (e < 0)
            return e;
    }
    return 0;
}

static uint32_t line_of(const Reader *r, const char *name)
{
    return r->seen[find_key(name) - keys];
}

/* Keys that need each other. */
static int check_together(Reader *r)
{
    const Config *c = r->config;

    if (c->notify_smtp_url && (!c->notify_mail_from || !c->notify_mail_to))
        return yaml_fail(r->tree, line_of(r, "notify.smtp_url"),
                         _("notify.smtp_url: needs notify.mail_from and notify.mail_to too"));
    if (!c->notify_smtp_url && (c->notify_mail_from || c->notify_mail_to))
        return yaml_fail(r->tree,
                         line_of(r, c->notify_mail_from ? "notify.mail_from" : "notify.mail_to"),
                         _("a mail address without notify.smtp_url, give the mail server too"));
    if (!c->notify_smtp_user != !c->notify_smtp_password_file)
        return yaml_fail(
            r->tree,
            line_of(r, c->notify_smtp_user ? "notify.smtp_user" : "notify.smtp_password_file"),
            _("notify.smtp_user and notify.smtp_password_file go together, give both or none"));
    return 0;
}

int config_parse(const char *name, const char *text, size_t len, Config **ret, ConfigError *error)
{
    CLEANUP(config_freep) Config *c = NULL;
    YamlTree tree;
    int e = config_default(&c);

    if (e < 0)
        return e;
    if (len > CONFIG_BYTES_MAX) {
        snprintf(error->text, sizeof(error->text), _("%.200s: longer than %u KiB"), name,
                 CONFIG_BYTES_MAX >> 10);
        return -EINVAL;
    }
    Reader r = {.tree = &tree, .config = c};
    e = yaml_tree_parse(&tree, name, text, len);
    if (e == 0)
        e = read_top(&r);
    if (e == 0)
        e = check_together(&r);
    if (e < 0)
        text_copy(error->text, sizeof(error->text), *tree.error ? tree.error : _("out of memory"));
    else
        *ret = TAKE_PTR(c);
    yaml_tree_done(&tree);
    return e;
}

int config_load(const char *path, Config **ret, ConfigError *error)
{
    CLEANUP(buffer_done) Buffer text = BUFFER_INIT(CONFIG_BYTES_MAX);
    int e = paths_read(path, &text);

    if (e == -ENOENT)
        return config_default(ret);
    if (e == -EFBIG)
        snprintf(error->text, sizeof(error->text), _("%.200s: longer than %u KiB"), path,
                 CONFIG_BYTES_MAX >> 10);
    else if (e < 0)
        snprintf(error->text, sizeof(error->text), "%.200s: %s", path, strerror(-e));
    if (e < 0)
        return e == -ENOMEM ? e : -EINVAL;
    return config_parse(path, buffer_cstr(&text), text.len, ret, error);
}

void config_write_keys(Buffer *out)
{
    for (size_t i = 0; i < ELEMENTS(keys); i++) {
        const Key *k = &keys[i];
        char form[64], otherwise[32] = "";

        snprintf(form, sizeof(form), "%s", i18n_text(k->form));
        if (k->kind == KEY_NUMBER) {
            snprintf(form, sizeof(form), _("%u to %u"), k->min, k->max);
            snprintf(otherwise, sizeof(otherwise), "%u", k->number);
        } else if (k->kind == KEY_BOOL) {
            snprintf(otherwise, sizeof(otherwise), "false");
        } else if (k->text) {
            snprintf(otherwise, sizeof(otherwise), "%s", k->text);
        }
        buffer_printf(out, "%-36s %s%s%s\n    %s\n", k->name, form,
                      *otherwise ? _(", default ") : "", otherwise, i18n_text(k->meaning));
    }
}
