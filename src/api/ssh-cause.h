/* What ssh said on its stderr, made a cause. Pure.
 *
 * ssh ends with 255 whatever went wrong; only its words tell a wrong key from a wrong name. They
 * are those of OpenSSH 7-9; ssh does not translate them. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "common/unit.h"

/* authenticated: the log-in had been accepted, so what ended was the session. status: as of
 * child.h. */
Cause ssh_cause(const char *text, size_t len, bool authenticated, int status);

bool ssh_said_authenticated(const char *text, size_t len);
bool ssh_said_prohibited(const char *text, size_t len); /* sshd forbids a TCP forward */
/* This ssh cannot make its SOCKS server on a UNIX socket. */
bool ssh_said_no_socket_socks(const char *text, size_t len);

/* The last line that says something, cleaned. "" when there is none. */
void ssh_last_line(const char *text, size_t len, char *ret, size_t size);
