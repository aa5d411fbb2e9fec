/* Runs constant commands on a PC through the `sh` of its ssh session, one after the other.
 *
 * The commands are words of one constant script that the shell has read to its end before it takes
 * the first request; from then on everything that it gets are lines of data which it reads with
 * `read -r` and only ever uses inside double quotes. So no name of a unit, path or host is ever
 * parsed by a shell. Each command runs under timeout(1) there and a deadline here; output is framed
 * by a nonce (ssh-frame.h) and bounded. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "basic/epoll-nest.h"
#include "common/unit.h"

#define SSH_QUEUE_MAX 64 /* commands that wait */
#define SSH_DATA_MAX  (256U << 10)

typedef enum SshCommand {
    SSH_ABOUT,   /* uname, then clock, uid, boot, linger, bus and manager as "key=value" lines */
    SSH_PORTS,   /* ss -Htlne */
    SSH_JOURNAL, /* data: scope, unit, invocation or "-", lines */
    SSH_UNITS,   /* systemctl show; data: scope, then units */
    SSH_HEALTH,  /* curl; data: its config */
    SSH_TOOLS,   /* which of the programs we use are there, as "tool=yes" lines */
    SSH_COMMAND_MAX
} SshCommand;

typedef struct SshShell SshShell;

/* error: 0, -ETIMEDOUT (there), -EFBIG, -EIO (it failed there), -ENOENT (no such program),
 * -ENOTCONN (the session ended). output is only valid during the call. Never from inside
 * ssh_exec(). */
typedef void (*SshReply)(void *userdata, int error, const char *output, size_t len);

typedef struct SshShellEvents {
    void (*ready)(void *userdata); /* the script was read; commands begin to run */
    /* Nothing can be run any more. The callback must not free the shell. */
    void (*broken)(void *userdata, Cause cause);
} SshShellEvents;

/* in, out: the session's stdin and stdout, non-blocking, not owned. The script is sent at once. */
int ssh_shell_new(Nest *nest, int in, int out, const SshShellEvents *events, void *userdata,
                  SshShell **ret);
/* Answers everything that is out or waits with -ENOTCONN; nothing runs any more. */
void ssh_shell_abort(SshShell *s);
SshShell *ssh_shell_free(SshShell *s); /* no replies any more, not even to what is out */

/* data: "" or lines, each ended by a newline, without control characters. -EINVAL, -EBUSY (the
 * queue is full), -ENOTCONN (broken). */
int ssh_exec(SshShell *s, SshCommand command, const char *data, size_t output_max,
             uint32_t timeout_ms, SshReply callback, void *userdata);
bool ssh_shell_is_idle(const SshShell *s);

/* Deadlines; mono. */
uint64_t ssh_shell_next_us(const SshShell *s);
void ssh_shell_tick(SshShell *s, uint64_t now_us);

/* The constant script, for tests. */
extern const char ssh_script[];
