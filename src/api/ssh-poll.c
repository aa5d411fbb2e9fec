/* See ssh-poll.h. systemctl prints times in UTC with microseconds ("Tue 2026-11-24 06:53:17.123456
 * UTC"), numbers for ExecMainCode. Every value is hostile until it was read whole. */
#include "api/ssh-poll.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "api/probe-port.h"
#include "basic/macro.h"
#include "basic/text.h"

#define VALUE_MAX 1024

/* ---- units ---- */

static bool number_read(const char *s, uint64_t max, uint64_t *ret)
{
    uint64_t v = 0;

    if (!*s)
        return false;
    for (; *s; s++) {
        if (*s < '0' || *s > '9')
            return false;
        v = v * 10 + (uint64_t)(*s - '0');
        if (v > max)
            return false;
    }
    *ret = v;
    return true;
}

static uint32_t u32_of(const char *s)
{
    uint64_t v = 0;

    return number_read(s, UINT32_MAX, &v) ? (uint32_t)v : 0;
}

static int64_t time_of(const char *s)
{
    struct tm tm = {0};
    int us = 0, end = 0;
    char zone[4] = "";

    if (sscanf(s, "%*3s %4d-%2d-%2d %2d:%2d:%2d.%6d %3s%n", &tm.tm_year, &tm.tm_mon, &tm.tm_mday,
               &tm.tm_hour, &tm.tm_min, &tm.tm_sec, &us, zone, &end) != 8 ||
        s[end] || strcmp(zone, "UTC") != 0 || tm.tm_year < 1970 || tm.tm_year > 9999)
        return 0;
    tm.tm_year -= 1900;
    tm.tm_mon -= 1;
    time_t t = timegm(&tm);
    return t < 0 ? 0 : (int64_t)t * 1000 + us / 1000;
}

static void invocation_read(const char *s, uint8_t ret[16])
{
    if (strlen(s) != 32 || strspn(s, "0123456789abcdef") != 32)
        return;
    for (size_t i = 0; i < 16; i++) {
        char byte[3] = {s[2 * i], s[2 * i + 1], '\0'};
        ret[i] = (uint8_t)strtoul(byte, NULL, 16);
    }
}

static void state_read(UnitFacts *u, const char *key, const char *value)
{
    if (strcmp(key, "LoadState") == 0) {
        LoadState load = load_state_from_string(value);
        u->load = load == LOAD_INVALID ? LOAD_UNKNOWN : load;
    } else if (strcmp(key, "ActiveState") == 0) {
        ActiveState active = active_state_from_string(value);
        u->active = active == ACTIVE_INVALID ? ACTIVE_UNKNOWN : active;
    } else if (strcmp(key, "SubState") == 0) {
        text_clean(u->sub, sizeof u->sub, value, strlen(value));
    } else if (strcmp(key, "Result") == 0) {
        text_clean(u->result, sizeof u->result, value, strlen(value));
    } else if (strcmp(key, "UnitFileState") == 0) {
        text_clean(u->file_state, sizeof u->file_state, value, strlen(value));
    } else if (strcmp(key, "InvocationID") == 0) {
        invocation_read(value, u->invocation);
    } else if (strcmp(key, "ControlGroup") == 0 && value[0] == '/') {
        u->cgroup_id = port_cgroup_hash(value);
    } else if (strcmp(key, "Id") == 0) {
        u->kind = unit_kind_of(value);
    }
}

static void value_read(UnitFacts *u, const char *key, const char *value)
{
    if (strcmp(key, "Type") == 0)
        u->oneshot = strcmp(value, "oneshot") == 0;
    else if (strcmp(key, "RemainAfterExit") == 0)
        u->remain_after_exit = strcmp(value, "yes") == 0;
    else if (strcmp(key, "MainPID") == 0)
        u->main_pid = u32_of(value);
    else if (strcmp(key, "NRestarts") == 0)
        u->n_restarts = u32_of(value);
    else if (strcmp(key, "ExecMainCode") == 0)
        u->exec_code = (int32_t)MIN(u32_of(value), 6U);
    else if (strcmp(key, "ExecMainStatus") == 0)
        u->exec_status = (int32_t)MIN(u32_of(value), 255U);
    else if (strcmp(key, "ActiveEnterTimestamp") == 0)
        u->active_enter_ms = time_of(value);
    else if (strcmp(key, "InactiveEnterTimestamp") == 0)
        u->inactive_enter_ms = time_of(value);
    else if (strcmp(key, "StateChangeTimestamp") == 0)
        u->state_change_ms = time_of(value);
    else if (strcmp(key, "ExecMainExitTimestamp") == 0)
        u->exec_exit_ms = time_of(value);
    else
        state_read(u, key, value);
}

static void line_read(UnitFacts *u, const char *line, size_t len)
{
    char copy[VALUE_MAX];

    if (len >= sizeof copy || memchr(line, '\0', len))
        return;
    memcpy(copy, line, len);
    copy[len] = '\0';
    char *equals = strchr(copy, '=');
    if (!equals)
        return;
    *equals = '\0';
    value_read(u, copy, equals + 1);
}

int ssh_units_parse(const char *text, size_t len, size_t n, UnitFacts *ret)
{
    size_t at = 0;
    int n_read = 0;

    for (size_t i = 0; i < n; i++)
        ret[i] = (UnitFacts){.load = LOAD_UNKNOWN};
    while (len > 0 && at < n) {
        const char *end = memchr(text, '\n', len);
        size_t line = end ? (size_t)(end - text) : len;
        if (line == 0)
            at++;
        else
            line_read(&ret[at], text, line);
        text += line + (end != NULL);
        len -= line + (end != NULL);
    }
    for (size_t i = 0; i < n; i++) {
        ret[i].has_details = ret[i].load != LOAD_UNKNOWN && ret[i].active != ACTIVE_UNKNOWN;
        n_read += ret[i].has_details;
    }
    return n_read ? n_read : -EBADMSG;
}

/* ---- health ---- */

/* A value inside double quotes of a curl config. */
static void put_quoted(Buffer *out, const char *s)
{
    for (; *s; s++) {
        if (*s == '"' || *s == '\\')
            buffer_char(out, '\\');
        buffer_char(out, *s);
    }
}

void ssh_health_request(Buffer *out, unsigned index, const char *host, const char *target,
                        uint32_t timeout_ms)
{
    if (index > 0)
        buffer_str(out, "next\n");
    buffer_str(out, "url = \"http://");
    put_quoted(out, host);
    put_quoted(out, target);
    buffer_printf(out,
                  "\"\nmax-time = %u.%03u\noutput = \"/dev/null\"\ngloboff\npath-as-is\n"
                  "noproxy = \"*\"\nmax-filesize = 65536\nheader = \"Connection: close\"\n"
                  "write-out = \"%u %%{http_code} %%{time_starttransfer} %%{exitcode}\\n\"\n",
                  timeout_ms / 1000, timeout_ms % 1000, index);
}

static HttpOutcome outcome_of(unsigned status, unsigned exit_code)
{
    if (status >= 100 && status <= 599)
        return status >= 200 && status < 400 ? HTTP_OK : HTTP_BAD_STATUS;
    switch (exit_code) {
    case 1:
    case 8: return HTTP_BAD_REPLY;
    case 6: return HTTP_UNRESOLVED;
    case 7: return HTTP_REFUSED;
    case 28: return HTTP_TIMEOUT;
    case 52: return HTTP_EOF;
    case 56: return HTTP_RESET;
    case 35:
    case 60: return HTTP_TLS;
    default: return HTTP_ERROR;
    }
}

static void answer_read(const char *line, size_t len, HttpFacts *ret, size_t n)
{
    char copy[96];
    unsigned index, status, seconds, fraction, exit_code;
    int end = 0;

    if (len >= sizeof copy || memchr(line, '\0', len))
        return;
    memcpy(copy, line, len);
    copy[len] = '\0';
    if (sscanf(copy, "%4u %3u %6u.%6u %3u%n", &index, &status, &seconds, &fraction, &exit_code,
               &end) != 5 ||
        copy[end] || index >= n)
        return;
    HttpFacts *f = &ret[index];
    f->outcome = outcome_of(status, exit_code);
    f->status = status >= 100 && status <= 599 ? (int32_t)status : 0;
    f->latency_us = f->status && seconds < 2000 ? (int32_t)(seconds * USEC_PER_SEC + fraction) : -1;
}

void ssh_health_parse(const char *text, size_t len, HttpFacts *ret, size_t n)
{
    while (len > 0) {
        const char *end = memchr(text, '\n', len);
        size_t line = end ? (size_t)(end - text) : len;
        answer_read(text, line, ret, n);
        text += line + (end != NULL);
        len -= line + (end != NULL);
    }
}
