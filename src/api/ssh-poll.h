/* Facts by commands, where sshd forbids the ways to the bus or to the ports: what systemctl and
 * curl print there, made the same facts that D-Bus and our own client bring. Pure. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "basic/buffer.h"
#include "common/unit.h"

/* Text of `systemctl show` for these units, in their order, blank lines between. A unit whose
 * answer is missing or broken keeps LOAD_UNKNOWN. Returns how many were read, -EBADMSG when none
 * was. */
int ssh_units_parse(const char *text, size_t len, size_t n, UnitFacts *ret);

/* Appends the lines of curl's config for the index-th request. */
void ssh_health_request(Buffer *out, unsigned index, const char *host, const char *target,
                        uint32_t timeout_ms);

/* What one line that curl wrote says; ret[index] is filled (outcome, status, latency_us). */
void ssh_health_parse(const char *text, size_t len, HttpFacts *ret, size_t n);
