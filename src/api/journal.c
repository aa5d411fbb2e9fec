/* Questions to a journal and the reading of its answers.
 *
 * One run of a unit is found by its invocation: _SYSTEMD_INVOCATION_ID= for what the run itself
 * wrote, and what the manager wrote about it (USER_INVOCATION_ID= of a user's manager,
 * INVOCATION_ID= of the system's), so that "Main process exited, code=killed" stands beside the
 * last words of the process.
 *
 * The answer's lines are JSON objects whose values are strings, arrays of byte values (text that is
 * not UTF-8) or null (too long); a field that was set twice is an array of such. Everything is
 * cleaned and cut at MESSAGE_MAX. */
#include "api/journal.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "basic/macro.h"
#include "basic/text.h"
#include "common/json.h"
#include "common/name.h"

#define MESSAGE_MAX 4096

static bool question_is_valid(const JournalQuestion *q)
{
    return q->unit && name_is_unit(q->unit) && q->lines >= 1 && q->lines <= JOURNAL_LINES_MAX &&
           (q->scope == SCOPE_USER || q->scope == SCOPE_SYSTEM);
}

int journal_input(const JournalQuestion *q, char *ret, size_t size)
{
    char id[33] = "-";

    if (!question_is_valid(q))
        return -EINVAL;
    for (size_t i = 0; q->invocation && i < 16; i++)
        snprintf(id + 2 * i, 3, "%02x", q->invocation[i]);
    int n = snprintf(ret, size, "%s\n%s\n%s\n%u\n", unit_scope_to_string(q->scope), q->unit, id,
                     q->lines);
    return n < 0 || (size_t)n >= size ? -ENAMETOOLONG : 0;
}

/* ---- the command ---- */

/* Takes one line off the input. */
static bool line_take(const char **input, char *ret, size_t size)
{
    size_t len = strcspn(*input, "\n");

    if ((*input)[len] != '\n' || len >= size)
        return false;
    memcpy(ret, *input, len);
    ret[len] = '\0';
    *input += len + 1;
    return true;
}

static bool is_hex_id(const char *s)
{
    return strlen(s) == 32 && strspn(s, "0123456789abcdef") == 32;
}

static bool lines_are_valid(const char *s)
{
    size_t len = strlen(s);

    if (len == 0 || len > 4 || strspn(s, "0123456789") != len)
        return false;
    unsigned long n = strtoul(s, NULL, 10);
    return n >= 1 && n <= JOURNAL_LINES_MAX;
}

static const char **match_add(JournalCommand *c, const char **arg, size_t i, const char *field,
                              const char *id)
{
    snprintf(c->matches[i], sizeof c->matches[i], "%s=%s", field, id);
    if (i > 0)
        *arg++ = "+";
    *arg++ = c->matches[i];
    return arg;
}

int journal_command(const char *input, JournalCommand *ret)
{
    char scope[8], id[33];
    JournalCommand *c = ret;
    const char **arg = c->argv;

    if (!line_take(&input, scope, sizeof scope) || !line_take(&input, c->text, sizeof c->text) ||
        !line_take(&input, id, sizeof id) || !line_take(&input, c->lines, sizeof c->lines) ||
        *input != '\0')
        return -EINVAL;
    UnitScope s = unit_scope_from_string(scope);
    if (s == SCOPE_INVALID || !name_is_unit(c->text) || !lines_are_valid(c->lines) ||
        (strcmp(id, "-") != 0 && !is_hex_id(id)))
        return -EINVAL;
    *arg++ = "journalctl";
    *arg++ = "--quiet";
    *arg++ = "--no-pager";
    *arg++ = "--output=json";
    *arg++ = "--output-fields=MESSAGE,PRIORITY";
    *arg++ = "-n";
    *arg++ = c->lines;
    if (id[0] == '-') {
        *arg++ = s == SCOPE_USER ? "--user-unit" : "--unit";
        *arg++ = c->text;
    } else {
        arg = match_add(c, arg, 0, "_SYSTEMD_INVOCATION_ID", id);
        arg = match_add(c, arg, 1, s == SCOPE_USER ? "USER_INVOCATION_ID" : "INVOCATION_ID", id);
    }
    *arg = NULL;
    return 0;
}

/* ---- the answer ---- */

/* Of a field that was set more than once, the first value. */
static const Json *value_of(const Json *line, const char *key)
{
    const Json *v = json_get(line, key), *first = json_is_array(v) ? json_first(v) : NULL;

    if (first && (json_is_array(first) || json_as_string(first, NULL)))
        return first;
    return v;
}

/* Bytes as numbers. */
static size_t bytes_of(const Json *array, char *ret, size_t size)
{
    size_t n = 0;

    for (const Json *j = json_first(array); j && n < size; j = json_next(j)) {
        int64_t byte = json_as_int(j, -1);
        if (byte < 0 || byte > 255)
            break;
        ret[n++] = (char)(unsigned char)byte;
    }
    return n;
}

static void message_of(const Json *line, char ret[MESSAGE_MAX])
{
    const Json *v = value_of(line, "MESSAGE");
    char bytes[MESSAGE_MAX];

    if (json_is_array(v)) {
        size_t n = bytes_of(v, bytes, sizeof bytes);
        text_clean(ret, MESSAGE_MAX, bytes, n);
    } else {
        const char *s = json_as_string(v, "");
        text_clean(ret, MESSAGE_MAX, s, strlen(s));
    }
}

/* A number in a string, as journalctl writes it. */
static int64_t number_of(const Json *line, const char *key, int64_t max, int64_t otherwise)
{
    const char *s = json_as_string(value_of(line, key), "");
    int64_t v = 0;

    if (*s == '\0')
        return otherwise;
    for (; *s; s++) {
        if (*s < '0' || *s > '9')
            return otherwise;
        v = v * 10 + (*s - '0');
        if (v > max)
            return otherwise;
    }
    return v;
}

static bool line_write(const char *text, size_t len, Buffer *out)
{
    CLEANUP(json_freep) Json *line = json_parse(text, len);
    char message[MESSAGE_MAX];

    if (!json_is_object(line))
        return false;
    message_of(line, message);
    json_open_object(out, NULL);
    json_time(out, "ts", number_of(line, "__REALTIME_TIMESTAMP", INT64_C(1) << 53, 0) / 1000);
    json_int(out, "priority", number_of(line, "PRIORITY", 7, 6));
    json_string(out, "message", message);
    json_close_object(out);
    return true;
}

size_t journal_to_json(const char *output, size_t len, Buffer *out)
{
    size_t n = 0;

    json_open_array(out, NULL);
    while (len > 0 && n < JOURNAL_LINES_MAX) {
        const char *end = memchr(output, '\n', len);
        size_t line = end ? (size_t)(end - output) : len;
        n += line > 0 && line_write(output, line, out);
        output += line + (end != NULL);
        len -= line + (end != NULL);
    }
    json_close_array(out);
    return n;
}
