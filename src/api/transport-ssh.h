/* The way to another PC: one foreground ssh process that we own. Agentless: nothing of ours is
 * installed there.
 *
 * Its session's `sh` runs a few constant commands (ssh-exec.h); -L brings the buses; -D makes one
 * SOCKS socket for every health port. Where sshd forbids forwarding, the same facts come by
 * commands (is_polled, health()). */
#pragma once

#include "api/ssh-limiter.h"
#include "api/transport.h"

/* What `doctor` wants to know. */
typedef struct SshReport {
    Cause cause; /* of the last end; CAUSE_NOT_CHECKED_YET before the first */
    bool authenticated, shell_ran;
    bool bus_exists, has_manager, lingers;
    bool bus_forwarded, tcp_forwarded, socks_supported;
    uint32_t uid;
    char last_line[256]; /* of ssh's stderr, cleaned */
} SshReport;

/* ssh_host and pc_id as the registry has validated them; -EINVAL otherwise. limiter is shared by
 * all and outlives them. */
int transport_ssh_new(Nest *nest, const char *ssh_host, const char *pc_id, SshLimiter *limiter,
                      const TransportEvents *events, void *userdata, Transport **ret);

void transport_ssh_report(const Transport *t, SshReport *ret);
/* One of the commands, for doctor; see ssh-exec.h. -ENOTCONN. */
int transport_ssh_tools(Transport *t, TransportReply callback, void *userdata);
