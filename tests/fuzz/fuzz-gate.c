/* A request as text: first line, then one "name: value" a line. What passes the gate has exactly
 * one good Host and no second body length, whatever else is in it. */
#include <string.h>
#include <strings.h>

#include "api/gate.h"
#include "basic/macro.h"
#include "fuzz.h"

#define TOKEN "0123456789abcdef"

static size_t split_headers(char *rest, GateHeader *headers, size_t max)
{
    size_t n = 0;

    for (char *line; n < max && (line = strsep(&rest, "\n"));) {
        char *colon = strchr(line, ':');
        headers[n].name = line;
        headers[n].value = NULL;
        if (colon) {
            *colon = '\0';
            headers[n].value = colon + 1 + strspn(colon + 1, " ");
        }
        n++;
    }
    return n;
}

static size_t count(const GateRequest *r, const char *name)
{
    size_t n = 0;

    for (size_t i = 0; i < r->n_headers; i++)
        n += strcasecmp(r->headers[i].name, name) == 0;
    return n;
}

static void check_passed(const GateRequest *r)
{
    PROMISE(count(r, "Host") == 1);
    PROMISE(count(r, "Origin") <= 1);
    PROMISE(count(r, "Content-Length") + count(r, "Transfer-Encoding") <= 1);
    PROMISE(r->n_headers <= GATE_HEADERS_MAX);
    PROMISE(*r->target == '/');
    for (const char *p = r->target; *p; p++)
        PROMISE(*p > ' ' && *p < 0x7F);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    static const char *const hosts[] = {"monitor.lan"}, *const origins[] = {"https://monitor.lan"};
    const GateRules rules = {.hosts = hosts, .n_hosts = 1, .origins = origins, .n_origins = 1};
    GateHeader headers[GATE_HEADERS_MAX + 8];
    CLEANUP_FREE char *text = malloc(len + 1);
    const char *why = NULL;

    if (!text)
        return 0;
    if (len)
        memcpy(text, data, len);
    text[len] = '\0';
    char *rest = text, *line = strsep(&rest, "\n");
    const char *method = strsep(&line, " "), *target = line ? strsep(&line, " ") : "";
    GateRequest request = {
        .method = method,
        .target = target,
        .version = line ? line : "HTTP/1.1",
        .headers = headers,
        .n_headers = rest ? split_headers(rest, headers, ELEMENTS(headers)) : 0,
    };
    GateVerdict verdict = gate_check(&rules, &request, &why);
    if (verdict == GATE_PASS)
        check_passed(&request);
    else
        PROMISE(why && *why);
    if (gate_token_matches(method, TOKEN))
        PROMISE(strstr(method, TOKEN));
    for (size_t i = 0; i < request.n_headers; i++)
        if (gate_token_matches(headers[i].value, TOKEN))
            PROMISE(strstr(headers[i].value, TOKEN));
    return 0;
}
