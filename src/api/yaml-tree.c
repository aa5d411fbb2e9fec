/* YAML text -> YamlTree, from libyaml's events.
 *
 * Not from libyaml's document API: that one resolves aliases silently and hides anchors, and both
 * are to be refused
 * ("billion laughs" needs them). Events carry everything, and one pass without recursion is enough:
 * `Builder` keeps the open mappings and lists in a fixed stack.
 *
 * The nodes are one array and refer to each other by index, so growing it moves nothing that
 * anybody holds. A scalar that is a mapping's key becomes no node: it waits in the builder for its
 * value. Duplicate keys are looked for only in mappings, which the readers above keep short by
 * their key tables; a mapping with more than MEMBERS_MAX members is refused, so that the search
 * stays cheap on hostile input. */
#include "api/yaml-tree.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <yaml.h>

#include "basic/i18n.h"
#include "basic/text.h"

#define MEMBERS_MAX 256

typedef struct Open {
    uint32_t node;
    uint32_t members; /* of a mapping, so far */
} Open;

typedef struct Builder {
    YamlTree *tree;
    Open stack[YAML_DEPTH_MAX];
    size_t depth;
    char *key; /* waits for its value */
    uint32_t key_line;
    size_t documents;
} Builder;

int yaml_fail(YamlTree *tree, uint32_t line, const char *format, ...)
{
    char text[sizeof(tree->error)], place[sizeof(tree->error) / 2];
    va_list ap;

    va_start(ap, format);
    vsnprintf(text, sizeof(text), format, ap);
    va_end(ap);
    if (line)
        snprintf(place, sizeof(place), "%s:%u: ", tree->name, line);
    else
        snprintf(place, sizeof(place), "%s: ", tree->name);
    size_t n = text_clean(tree->error, sizeof(tree->error), place, strlen(place));
    text_clean(tree->error + n, sizeof(tree->error) - n, text, strlen(text));
    return -EINVAL;
}

static int out_of_memory(YamlTree *tree)
{
    yaml_fail(tree, 0, _("out of memory"));
    return -ENOMEM;
}

const char *yaml_describe(const YamlNode *node, char *dst, size_t size)
{
    char clean[80];

    if (node->kind == YAML_LIST)
        return text_copy(dst, size, _("a list"));
    if (node->kind == YAML_MAPPING)
        return text_copy(dst, size, _("a mapping"));
    text_clean(clean, sizeof(clean), node->text, strlen(node->text));
    snprintf(dst, size, node->quoted ? "\"%s\"" : "%s", clean);
    return dst;
}

static int new_node(YamlTree *tree, const YamlNode *value, uint32_t *ret)
{
    if (tree->n >= YAML_NODES_MAX)
        return yaml_fail(tree, value->line, _("the file has too many entries"));
    if (tree->n == tree->cap) {
        uint32_t cap = tree->cap ? tree->cap * 2 : 64;
        YamlNode *nodes = realloc(tree->nodes, cap * sizeof(*nodes));
        if (!nodes)
            return out_of_memory(tree);
        tree->nodes = nodes;
        tree->cap = cap;
    }
    tree->nodes[tree->n] = *value;
    *ret = tree->n++;
    return 0;
}

static void link_child(YamlTree *tree, uint32_t parent, uint32_t child)
{
    YamlNode *p = &tree->nodes[parent];

    if (p->first == YAML_NOTHING)
        p->first = child;
    else
        tree->nodes[p->last].next = child;
    p->last = child;
}

/* Puts a value where it belongs: the root, a list's next item, or the member whose key waits. Takes
 * text over. */
static int add_value(Builder *b, YamlNode value)
{
    YamlTree *tree = b->tree;
    CLEANUP_FREE char *text = value.text;
    uint32_t index = 0;

    value.next = value.first = value.last = YAML_NOTHING;
    if (b->key)
        value.line = b->key_line;
    int r = new_node(tree, &value, &index);
    if (r < 0)
        return r;
    text = NULL;
    tree->nodes[index].key = TAKE_PTR(b->key);
    if (b->depth == 0)
        tree->root = index;
    else
        link_child(tree, b->stack[b->depth - 1].node, index);
    return (int)index;
}

static bool wants_key(const Builder *b)
{
    return b->depth > 0 && b->tree->nodes[b->stack[b->depth - 1].node].kind == YAML_MAPPING &&
           !b->key;
}

static int add_key(Builder *b, const char *text, uint32_t line)
{
    Open *open = &b->stack[b->depth - 1];
    char clean[80];

    text_clean(clean, sizeof(clean), text, strlen(text));
    if (++open->members > MEMBERS_MAX)
        return yaml_fail(b->tree, line, _("more than %d keys in one mapping"), MEMBERS_MAX);
    if (yaml_get(b->tree, &b->tree->nodes[open->node], text))
        return yaml_fail(b->tree, line, _("the key %s is here twice, leave one out"), clean);
    b->key = strdup(text);
    b->key_line = line;
    return b->key ? 0 : out_of_memory(b->tree);
}

static int on_scalar(Builder *b, const yaml_event_t *e, uint32_t line)
{
    const char *text = (const char *)e->data.scalar.value;

    if (e->data.scalar.anchor)
        return yaml_fail(b->tree, line, _("anchors (&name) are not allowed here"));
    if (e->data.scalar.tag)
        return yaml_fail(b->tree, line, _("tags (!name) are not allowed here"));
    if (strlen(text) != e->data.scalar.length)
        return yaml_fail(b->tree, line, _("a NUL character is not allowed here"));
    if (wants_key(b))
        return add_key(b, text, line);

    YamlNode node = {.kind = YAML_SCALAR, .line = line};
    node.quoted = e->data.scalar.style != YAML_PLAIN_SCALAR_STYLE;
    node.text = strdup(text);
    if (!node.text)
        return out_of_memory(b->tree);
    int r = add_value(b, node);
    return r < 0 ? r : 0;
}

static int on_open(Builder *b, YamlKind kind, const yaml_char_t *anchor, const yaml_char_t *tag,
                   uint32_t line)
{
    if (anchor)
        return yaml_fail(b->tree, line, _("anchors (&name) are not allowed here"));
    if (tag)
        return yaml_fail(b->tree, line, _("tags (!name) are not allowed here"));
    if (wants_key(b))
        return yaml_fail(b->tree, line, _("a key must be a word, not a list or a mapping"));
    if (b->depth == YAML_DEPTH_MAX)
        return yaml_fail(b->tree, line, _("nested deeper than %d levels"), YAML_DEPTH_MAX);

    int r = add_value(b, (YamlNode){.kind = kind, .line = line});
    if (r < 0)
        return r;
    b->stack[b->depth++] = (Open){.node = (uint32_t)r};
    return 0;
}

static int on_document(Builder *b, const yaml_event_t *e, uint32_t line)
{
    if (++b->documents > 1)
        return yaml_fail(b->tree, line, _("a second document (---) is not allowed"));
    if (e->data.document_start.version_directive ||
        e->data.document_start.tag_directives.start != e->data.document_start.tag_directives.end)
        return yaml_fail(b->tree, line, _("directives (%%YAML, %%TAG) are not allowed"));
    return 0;
}

static int on_event(Builder *b, const yaml_event_t *e)
{
    uint32_t line = (uint32_t)e->start_mark.line + 1;

    switch (e->type) {
    case YAML_DOCUMENT_START_EVENT: return on_document(b, e, line);
    case YAML_SCALAR_EVENT: return on_scalar(b, e, line);
    case YAML_SEQUENCE_START_EVENT:
        return on_open(b, YAML_LIST, e->data.sequence_start.anchor, e->data.sequence_start.tag,
                       line);
    case YAML_MAPPING_START_EVENT:
        return on_open(b, YAML_MAPPING, e->data.mapping_start.anchor, e->data.mapping_start.tag,
                       line);
    case YAML_SEQUENCE_END_EVENT:
    case YAML_MAPPING_END_EVENT: b->depth--; return 0;
    case YAML_ALIAS_EVENT:
        return yaml_fail(b->tree, line, _("aliases (*name) are not allowed here"));
    default: return 0;
    }
}

static int syntax_error(YamlTree *tree, const yaml_parser_t *parser)
{
    if (parser->error == YAML_MEMORY_ERROR)
        return out_of_memory(tree);
    const char *problem = parser->problem ? parser->problem : _("cannot be read");
    if (parser->error == YAML_READER_ERROR)
        return yaml_fail(tree, (uint32_t)parser->mark.line + 1, _("not YAML: %s"), problem);
    return yaml_fail(tree, (uint32_t)parser->problem_mark.line + 1, _("not YAML: %s"), problem);
}

static int run(Builder *b, yaml_parser_t *parser)
{
    for (;;) {
        yaml_event_t event;
        if (!yaml_parser_parse(parser, &event))
            return syntax_error(b->tree, parser);
        bool end = event.type == YAML_STREAM_END_EVENT;
        int r = on_event(b, &event);
        yaml_event_delete(&event);
        if (r < 0 || end)
            return r;
    }
}

int yaml_tree_parse(YamlTree *tree, const char *name, const char *text, size_t len)
{
    Builder b = {.tree = tree};
    yaml_parser_t parser;

    *tree = (YamlTree){.name = name, .root = YAML_NOTHING};
    if (memchr(text, '\0', len))
        return yaml_fail(tree, 0, _("it has NUL bytes: this is not a text file"));
    if (!yaml_parser_initialize(&parser))
        return out_of_memory(tree);
    yaml_parser_set_encoding(&parser, YAML_UTF8_ENCODING);
    yaml_parser_set_input_string(&parser, (const unsigned char *)text, len);
    int r = run(&b, &parser);
    yaml_parser_delete(&parser);
    free(b.key);
    return r;
}

void yaml_tree_done(YamlTree *tree)
{
    for (uint32_t i = 0; i < tree->n; i++) {
        free(tree->nodes[i].key);
        free(tree->nodes[i].text);
    }
    free(tree->nodes);
    *tree = (YamlTree){.root = YAML_NOTHING};
}

static const YamlNode *at(const YamlTree *tree, uint32_t index)
{
    return index == YAML_NOTHING ? NULL : &tree->nodes[index];
}

const YamlNode *yaml_root(const YamlTree *tree)
{
    return at(tree, tree->root);
}

const YamlNode *yaml_first(const YamlTree *tree, const YamlNode *parent)
{
    return at(tree, parent->first);
}

const YamlNode *yaml_next(const YamlTree *tree, const YamlNode *node)
{
    return at(tree, node->next);
}

const YamlNode *yaml_child(const YamlTree *tree, const YamlNode *parent, size_t index)
{
    const YamlNode *n = yaml_first(tree, parent);

    while (n && index-- > 0)
        n = yaml_next(tree, n);
    return n;
}

const YamlNode *yaml_get(const YamlTree *tree, const YamlNode *mapping, const char *key)
{
    const YamlNode *n = yaml_first(tree, mapping);

    while (n && strcmp(n->key, key) != 0)
        n = yaml_next(tree, n);
    return n;
}

bool yaml_is_null(const YamlNode *node)
{
    if (!node)
        return true;
    if (node->kind != YAML_SCALAR || node->quoted)
        return false;
    return *node->text == '\0' || strcmp(node->text, "~") == 0 || strcmp(node->text, "null") == 0;
}

bool yaml_as_number(const YamlNode *node, uint64_t *ret)
{
    uint64_t n = 0;

    if (node->kind != YAML_SCALAR || node->quoted)
        return false;
    size_t len = strlen(node->text);
    if (len == 0 || len > 18 || strspn(node->text, "0123456789") != len ||
        (len > 1 && *node->text == '0'))
        return false;
    for (const char *p = node->text; *p; p++)
        n = n * 10 + (uint64_t)(*p - '0');
    *ret = n;
    return true;
}

bool yaml_as_bool(const YamlNode *node, bool *ret)
{
    if (node->kind != YAML_SCALAR || node->quoted)
        return false;
    bool yes = strcmp(node->text, "true") == 0;
    if (!yes && strcmp(node->text, "false") != 0)
        return false;
    *ret = yes;
    return true;
}
