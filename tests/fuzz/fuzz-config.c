/* config.yaml: what is accepted is within its ranges; what is refused says why in one clean line.
 */
#include <string.h>

#include "api/config.h"
#include "basic/macro.h"
#include "basic/text.h"
#include "fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    CLEANUP(config_freep) Config *c = NULL;
    ConfigError error = {};
    char host[64];
    uint16_t port;

    if (config_parse("fuzz", (const char *)data, len, &c, &error) < 0) {
        PROMISE(!c && *error.text);
        PROMISE(text_is_utf8(error.text, strlen(error.text)));
        PROMISE(!strpbrk(error.text, "\n\r\x1b"));
        return 0;
    }
    PROMISE(config_split_address(c->listen, host, &port) == 0 && port > 0);
    PROMISE(c->interval_ms >= 1000 && c->interval_ms <= 3600000);
    PROMISE(c->alert_after_s <= 86400 && c->reboot_grace_s <= 3600);
    PROMISE(c->retention_checks_days >= 1 && c->retention_checks_days <= 366);
    PROMISE(c->hosts.n <= CONFIG_LIST_MAX && c->origins.n <= CONFIG_LIST_MAX);
    PROMISE(!c->notify_smtp_url || (c->notify_mail_from && c->notify_mail_to));
    return 0;
}
