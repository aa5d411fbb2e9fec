/* The sockets below the HTTP server: opening the listening ones, saying who is in the way, and
 * telling whose process sits at the other end of a loopback connection.
 *
 * All of it is asked from the kernel through sock_diag(7), which answers any user about any socket
 * of this machine. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Opens listening sockets for "host:port" (both loopback families for a loopback address). On
 * failure error_text has one sentence; for -EADDRINUSE it says who holds the port (pid and name
 * where /proc shows it). */
int http_listen(const char *address, int ret_fds[2], size_t *ret_n, char *error_text, size_t size);

/* True when only this machine can reach the address (127.0.0.0/8, ::1). */
bool http_is_loopback(const char *address);

/* A socket for http_peer_uid_by(), negative errno when there is none to be had. */
int http_diag_open(void);

/* Uid of the peer of an accepted loopback TCP connection, by an exact look-up. -ENOENT when the
 * peer is gone, was orphaned or sits on another machine. */
int http_peer_uid_by(int diag_fd, int fd, uint32_t *ret_uid);
int http_peer_uid(int fd, uint32_t *ret_uid);
