/* A transport outside of the daemon, for commands that look at one PC: an event loop of its own and
 * as much of the daemon's clockwork as a transport needs. */
#pragma once

#include "api/transport-ssh.h"

typedef struct Way {
    sd_event *event;
    Nest *nest;
    SshLimiter *limiter;
    Transport *transport;
    sd_event_source *nest_source, *tick_source;
} Way;

/* w is zero. The caller starts the transport, runs w->event, and calls way_done() in any case. */
int way_open(Way *w, const char *pc_id, const char *ssh_host, bool is_self,
             const TransportEvents *events, void *userdata);
void way_close(Way *w); /* the transport alone; another one may be opened */
void way_done(Way *w);  /* back to zero; once more is harmless */
