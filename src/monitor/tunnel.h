/* `--ssh HOST`: one ssh process that forwards a socket file of this PC to HOST's loopback port
 * 8485. The file lies in a folder of this user alone.
 *
 * The system's ssh does all of it: the user's ~/.ssh/config, keys and known_hosts apply; nothing is
 * ever asked (BatchMode). The process ends with us, however we end, and is started again when it
 * ended. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "common/client.h"

typedef struct Tunnel Tunnel;

/* host must be name_is_ssh_host(). -EINVAL, -ENOMEM, other negative errno: no thread or no folder.
 */
int tunnel_new(const char *host, Tunnel **ret);
Tunnel *tunnel_free(Tunnel *t);
const char *tunnel_url(const Tunnel *t); /* for client.h; the same as long as the tunnel is */
bool tunnel_is_open(const Tunnel *t);    /* ssh is logged in and the socket is there */
void tunnel_works(Tunnel *t); /* the daemon over there has answered: the last error is over */
/* Why it does not work: one sentence, or the last thing ssh said, cleaned; "": nothing is known.
 * tunnel_works() and this are safe from any thread. */
void tunnel_error(Tunnel *t, char *ret, size_t size);
/* The token of the daemon over there, read with an ssh of its own; blocks for at most some 10 s.
 * From any thread; that thread must live until it returns. The caller wipes ret. -ETIMEDOUT;
 * -ECANCELED: tunnel_stop(); -EREMOTEIO: ssh or the command over there failed; -EBADMSG: what came
 * is no token; other negative errno. error gets one sentence with any of them, and is left alone
 * with 0. */
int tunnel_token(Tunnel *t, char ret[static CLIENT_TOKEN_BYTES], char *error, size_t size);
/* Ends it, and a tunnel_token() that waits, now and for good; NULL allowed. From any thread. */
void tunnel_stop(Tunnel *t);

static inline void tunnel_freep(Tunnel **t)
{
    if (*t)
        *t = tunnel_free(*t);
}
