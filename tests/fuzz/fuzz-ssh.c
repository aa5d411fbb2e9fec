/* Whatever another PC writes to our ssh: its stderr, its shell's output, what systemctl, curl and
 * ss print there. */
#include <string.h>

#include "api/ssh-cause.h"
#include "api/ssh-frame.h"
#include "api/ssh-owners.h"
#include "api/ssh-poll.h"
#include "fuzz.h"

#define NONCE      "0123456789abcdef0123456789abcdef"
#define OUTPUT_MAX 256

static void said(const char *text, size_t len)
{
    char last[64];
    Cause cause = ssh_cause(text, len, len % 2, (int)(len % 256));

    PROMISE(cause > CAUSE_NONE && cause < CAUSE_MAX);
    ssh_last_line(text, len, last, sizeof last);
    PROMISE(strlen(last) < sizeof last);
    ssh_said_authenticated(text, len);
    ssh_said_prohibited(text, len);
    ssh_said_no_socket_socks(text, len);
}

/* However the output is cut, the same comes out. */
static void framed(const char *text, size_t len)
{
    SshFrame whole = {}, parts = {};
    int a, b = 0;

    ssh_frame_begin(&whole, NONCE, OUTPUT_MAX);
    a = ssh_frame_feed(&whole, text, len);
    ssh_frame_begin(&parts, NONCE, OUTPUT_MAX);
    for (size_t i = 0; i < len && b == 0; i++)
        b = ssh_frame_feed(&parts, text + i, 1);
    PROMISE(a <= 1 && b <= 1);
    PROMISE((a == 1) == (b == 1));
    if (a == 1) {
        PROMISE(whole.too_long == parts.too_long && whole.data.len <= OUTPUT_MAX);
        PROMISE(whole.status == parts.status && whole.data.len == parts.data.len);
        PROMISE(whole.data.len == 0 ||
                memcmp(whole.data.data, parts.data.data, whole.data.len) == 0);
    }
    ssh_frame_done(&whole);
    ssh_frame_done(&parts);
}

static void answered(const char *text, size_t len)
{
    UnitFacts units[3];
    HttpFacts facts[3] = {};
    SshOwners owners = {};
    char name[UNIT_MAX + 1];

    PROMISE(ssh_units_parse(text, len, 3, units) <= 3);
    for (size_t i = 0; i < 3; i++) {
        PROMISE(memchr(units[i].sub, '\0', sizeof units[i].sub));
        PROMISE(memchr(units[i].result, '\0', sizeof units[i].result));
        PROMISE(memchr(units[i].file_state, '\0', sizeof units[i].file_state));
    }
    ssh_health_parse(text, len, facts, 3);
    for (size_t i = 0; i < 3; i++) {
        PROMISE(facts[i].outcome >= HTTP_NOT_ASKED && facts[i].outcome < HTTP_OUTCOME_MAX);
        PROMISE(facts[i].status == 0 || (facts[i].status >= 100 && facts[i].status <= 599));
        PROMISE(facts[i].latency_us >= -1);
    }
    if (ssh_owners_read(&owners, text, len) >= 0)
        for (size_t i = 0; i < owners.n; i++)
            PROMISE(ssh_owners_find(&owners, owners.items[i].id, name, sizeof name));
    ssh_owners_done(&owners);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    said((const char *)data, len);
    framed((const char *)data, len);
    answered((const char *)data, len);
    return 0;
}
