/* `--ssh HOST`: one ssh process that forwards a socket of this PC to HOST's loopback port 8485.
 *
 * The system's ssh does all of it: the user's ~/.ssh/config, keys and known_hosts apply; nothing is
 * ever asked (BatchMode). The process ends with us, however we end, and is started again when it
 * ended. */
#pragma once

#include <stddef.h>

typedef struct Tunnel Tunnel;

/* host must be name_is_ssh_host(). -EINVAL, -ENOMEM, other negative errno: no thread or no port. */
int tunnel_new(const char *host, Tunnel **ret);
Tunnel *tunnel_free(Tunnel *t);
const char *tunnel_url(const Tunnel *t);
/* The last thing ssh said, cleaned; "" while it runs well. Safe from any thread. */
void tunnel_error(Tunnel *t, char *ret, size_t size);

static inline void tunnel_freep(Tunnel **t)
{
    if (*t)
        *t = tunnel_free(*t);
}
