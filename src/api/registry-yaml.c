/* The registry as people write it. Reading is a walk over the tree with the column tables in hand;
 * writing is the same walk the other way, and what was written reads back to the same registry.
 *
 * The type of a value follows from its column, not from YAML's guesses: `tag: on` or `note: 2024`
 * are text, while `port: "8401"` is refused because quotes say text. An absent key, null and an
 * empty value mean the same. */
#include "api/registry-yaml.h"

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "api/registry-columns.h"
#include "api/suggest.h"
#include "api/yaml-tree.h"
#include "basic/i18n.h"
#include "basic/macro.h"
#include "basic/text.h"

/* Where the reader stands: apps[3] */
typedef struct Place {
    YamlTree *tree;
    const RegistryTable *table;
    uint32_t index;
} Place;

static int fail_at(const Place *p, uint32_t line, const char *column, const char *why)
{
    return yaml_fail(p->tree, line, "%s[%u]%s%s: %s", p->table->name, p->index, column ? "." : "",
                     column ? column : "", why);
}

static int wrong_type(const Place *p, const RegistryColumn *c, const YamlNode *value)
{
    char why[REGISTRY_WHY_MAX], shown[96];

    yaml_describe(value, shown, sizeof(shown));
    registry_why(c, shown, why);
    if (value->kind == YAML_SCALAR && value->quoted)
        snprintf(why, sizeof(why), _("%s is text, write it without quotes"), shown);
    return fail_at(p, value->line, c->name, why);
}

static int read_value(const Place *p, const RegistryColumn *c, const YamlNode *value, void *row)
{
    char why[REGISTRY_WHY_MAX];
    uint64_t number;
    bool truth;
    int r;

    if (yaml_is_null(value))
        return 0;
    if (c->kind == COLUMN_BOOL) {
        if (!yaml_as_bool(value, &truth))
            return wrong_type(p, c, value);
        registry_set_bool(c, row, truth);
        return 0;
    }
    if (registry_column_is_number(c)) {
        if (!yaml_as_number(value, &number))
            return wrong_type(p, c, value);
        r = registry_set_number(c, row, (int64_t)number, why);
    } else {
        if (value->kind != YAML_SCALAR)
            return wrong_type(p, c, value);
        r = registry_set_text(c, row, value->text, strlen(value->text), why);
    }
    return r == -EINVAL ? fail_at(p, value->line, c->name, why) : r;
}

static const RegistryColumn *find_column(const RegistryTable *t, const char *name)
{
    for (size_t i = 0; i < t->n_columns; i++)
        if (strcmp(t->columns[i].name, name) == 0)
            return &t->columns[i];
    return NULL;
}

/* Appends the known names to why: "..., known keys: a, b, c". */
static void unknown_key(const char *key, const char *const *known, size_t n, char *why, size_t size)
{
    Suggestion suggestion = SUGGESTION_INIT(key);
    char clean[80];

    text_clean(clean, sizeof(clean), key, strlen(key));
    snprintf(why, size, _("the key %s is not known"), clean);
    for (size_t i = 0; i < n; i++)
        suggest_try(&suggestion, known[i]);
    suggest_append(&suggestion, why, size);
    if (suggestion.best)
        return;
    for (size_t i = 0; i < n; i++) {
        size_t len = strlen(why);
        snprintf(why + len, size - len, "%s%s", i ? ", " : _(", use one of "), known[i]);
    }
}

static int unknown_column(const Place *p, const YamlNode *member)
{
    const char *known[16];
    char why[REGISTRY_WHY_MAX];
    size_t n = 0;

    for (; n < p->table->n_columns && n < ELEMENTS(known); n++)
        known[n] = p->table->columns[n].name;
    unknown_key(member->key, known, n, why, sizeof(why));
    return fail_at(p, member->line, NULL, why);
}

static int read_row(const Place *p, const YamlNode *item, void *row)
{
    if (item->kind != YAML_MAPPING)
        return fail_at(p, item->line, NULL,
                       _("is not a mapping, write \"- key: value\" and one key a line"));
    for (const YamlNode *m = yaml_first(p->tree, item); m; m = yaml_next(p->tree, m)) {
        const RegistryColumn *c = find_column(p->table, m->key);
        if (!c)
            return unknown_column(p, m);
        int r = read_value(p, c, m, row);
        if (r < 0)
            return r;
    }
    return 0;
}

static int read_table(YamlTree *tree, const RegistryTable *t, const YamlNode *list, Registry *r)
{
    Place p = {.tree = tree, .table = t};

    if (yaml_is_null(list))
        return 0;
    if (list->kind != YAML_LIST)
        return yaml_fail(tree, list->line, _("%s: is not a list, begin each entry with \"- \""),
                         t->name);
    for (const YamlNode *item = yaml_first(tree, list); item;
         item = yaml_next(tree, item), p.index++) {
        void *row;
        int e = registry_append(t, r, &row);
        if (e == -E2BIG)
            return yaml_fail(tree, item->line, _("%s: more than %zu entries"), t->name, t->max);
        if (e == 0)
            e = read_row(&p, item, row);
        if (e < 0)
            return e;
    }
    return 0;
}

static int read_top(YamlTree *tree, Registry *r)
{
    const char *const known[TABLE_MAX] = {registry_tables[TABLE_PCS].name,
                                          registry_tables[TABLE_APPS].name,
                                          registry_tables[TABLE_TARGETS].name};
    const YamlNode *root = yaml_root(tree);
    char why[REGISTRY_WHY_MAX];

    if (!root || yaml_is_null(root))
        return yaml_fail(tree, 0, _("it is empty, write the lists pcs, apps and service_targets"));
    if (root->kind != YAML_MAPPING)
        return yaml_fail(tree, root->line,
                         _("it is not a mapping, write the lists pcs, apps and service_targets"));
    for (const YamlNode *m = yaml_first(tree, root); m; m = yaml_next(tree, m)) {
        size_t t = 0;
        while (t < TABLE_MAX && strcmp(known[t], m->key) != 0)
            t++;
        if (t == TABLE_MAX) {
            unknown_key(m->key, known, TABLE_MAX, why, sizeof(why));
            return yaml_fail(tree, m->line, "%s", why);
        }
        int e = read_table(tree, &registry_tables[t], m, r);
        if (e < 0)
            return e;
    }
    return 0;
}

/* The line of a fault: of the key if it is there, else of its entry. */
static int locate_fault(YamlTree *tree, const RegistryFault *f)
{
    Place p = {.tree = tree, .table = f->table, .index = f->place};
    const YamlNode *list = yaml_get(tree, yaml_root(tree), f->table->name);
    const YamlNode *item = yaml_child(tree, list, f->place);
    const YamlNode *member = f->column ? yaml_get(tree, item, f->column->name) : NULL;

    return fail_at(&p, member ? member->line : item->line, f->column ? f->column->name : NULL,
                   f->why);
}

static int read_registry(YamlTree *tree, const char *name, const char *text, size_t len,
                         Registry *r)
{
    RegistryFault f;
    int e = yaml_tree_parse(tree, name, text, len);

    if (e == 0)
        e = read_top(tree, r);
    if (e == 0 && registry_find_fault(r, &f) < 0)
        e = locate_fault(tree, &f);
    return e;
}

int registry_yaml_parse(const char *name, const char *text, size_t len, Registry **ret,
                        RegistryError *error)
{
    CLEANUP(registry_freep) Registry *r = calloc(1, sizeof(*r));
    YamlTree tree;

    if (!r)
        return -ENOMEM;
    if (len > REGISTRY_YAML_MAX) {
        snprintf(error->text, sizeof(error->text), _("%.200s: longer than %u MiB"), name,
                 REGISTRY_YAML_MAX >> 20);
        return -EFBIG;
    }
    int e = read_registry(&tree, name, text, len, r);
    if (e < 0)
        text_copy(error->text, sizeof(error->text), *tree.error ? tree.error : _("out of memory"));
    else
        *ret = TAKE_PTR(r);
    yaml_tree_done(&tree);
    return e;
}

/* Plain where every YAML reader agrees that it is text; in double quotes otherwise. */
static bool is_plain(const char *s)
{
    static const char *const words[] = {"null", "true", "false", "yes", "no",
                                        "on",   "off",  "y",     "n"};

    for (size_t i = 0; i < ELEMENTS(words); i++)
        if (strcasecmp(s, words[i]) == 0)
            return false;
    if (!isalpha((unsigned char)*s) && *s != '/')
        return false;
    return s[strspn(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._/@-")] ==
           '\0';
}

static void write_text(Buffer *out, const char *s)
{
    if (is_plain(s))
        return buffer_str(out, s);
    buffer_char(out, '"');
    for (; *s; s++) {
        if (strncmp(s, "\xEF\xBF\xBE", 3) == 0 || strncmp(s, "\xEF\xBF\xBF", 3) == 0) {
            buffer_str(out, s[2] == '\xBE'
                                ? "\\uFFFE"
                                : "\\uFFFF"); /* valid text, but libyaml takes it escaped only */
            s += 2;
            continue;
        }
        if (*s == '"' || *s == '\\')
            buffer_char(out, '\\');
        buffer_char(out, *s);
    }
    buffer_char(out, '"');
}

/* Defaults are left out, except for `expected`: that one is the point of a target. */
static bool is_default(const RegistryColumn *c, const void *row)
{
    if (registry_column_is_number(c))
        return registry_get_number(c, row) == 0;
    const char *text = registry_get_text(c, row);
    return !text || (c->kind == COLUMN_SCOPE && strcmp(text, "user") == 0);
}

static void write_row(const RegistryTable *t, const void *row, Buffer *out)
{
    for (size_t i = 0; i < t->n_columns; i++) {
        const RegistryColumn *c = &t->columns[i];

        if (is_default(c, row))
            continue;
        buffer_printf(out, "%s%s: ", i ? "    " : "  - ", c->name);
        if (c->kind == COLUMN_BOOL)
            buffer_str(out, "true");
        else if (registry_column_is_number(c))
            buffer_printf(out, "%" PRId64, registry_get_number(c, row));
        else
            write_text(out, registry_get_text(c, row));
        buffer_char(out, '\n');
    }
}

void registry_yaml_write(const Registry *r, Buffer *out)
{
    for (size_t t = 0; t < TABLE_MAX; t++) {
        const RegistryTable *table = &registry_tables[t];
        size_t n = registry_count(table, r);

        buffer_printf(out, "%s%s:%s\n", t ? "\n" : "", table->name, n ? "" : " []");
        for (size_t i = 0; i < n; i++)
            write_row(table, registry_row(table, r, i), out);
    }
}
