/* The exact command line of ssh, and the names of its sockets. Pure but for the directory. */
#pragma once

#include <stddef.h>
#include <stdint.h>
#include <sys/un.h>

#define SSH_PORTS_MAX 64
#define SSH_ARGV_MAX  (64 + 2 * SSH_PORTS_MAX)
#define SSH_SOCKET_MAX \
    (sizeof(((struct sockaddr_un *)NULL)->sun_path) - 20) /* ssh binds a longer one first */

typedef struct SshSockets {
    char socks[SSH_SOCKET_MAX];
    char user_bus[SSH_SOCKET_MAX];
    char system_bus[SSH_SOCKET_MAX];
    char port[SSH_SOCKET_MAX]; /* without the port's number, which is appended */
} SshSockets;

typedef struct SshArgv {
    const char *argv[SSH_ARGV_MAX];
    char text[16384]; /* what argv points into, besides constants */
} SshArgv;

/* Our socket directory, made if need be: $XDG_RUNTIME_DIR/services_api, ours and 0700. Takes away
 * what processes left there that live no more. -ENOENT without XDG_RUNTIME_DIR. */
int ssh_socket_dir(char *ret, size_t size);

/* Names that no other process, PC or attempt of ours has: "<pid>-<hash>.x" in dir. -ENAMETOOLONG.
 */
int ssh_sockets_name(const char *dir, const char *pc_id, unsigned pid, SshSockets *ret);
void ssh_sockets_unlink(const SshSockets *s, const uint16_t *ports, size_t n_ports);

/* The log-in that only learns the remote uid: no forwards. */
int ssh_argv_plain(const char *host, SshArgv *ret);
/* The session: buses of that uid, and either SOCKS (ports NULL) or a forward for each port. */
int ssh_argv_session(const char *host, uint32_t uid, const SshSockets *sockets,
                     const uint16_t *ports, size_t n_ports, SshArgv *ret);
