/* A child process as an object: spawned by argv (never a shell), with pipes, caps and a deadline.
 *
 * Its end is seen by pidfd, so SIGCHLD may be blocked or not. At the deadline it gets SIGTERM, 1 s
 * later SIGKILL, together with whatever it started (its process group). It dies with us
 * (PR_SET_PDEATHSIG). All descriptors but 0-2 are closed in it; its signal mask is empty. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <systemd/sd-event.h>

#define CHILD_KILL_US (1U * 1000000U) /* from SIGTERM to SIGKILL, and from there to giving up */
#define CHILD_ERR_MAX 2048

typedef struct Child Child;

typedef struct ChildSpec {
    const char *const *argv; /* argv[0] is searched in PATH */
    const char *input;       /* what stdin holds, then EOF; NULL: /dev/null */
    size_t input_len;
    size_t output_max; /* stdout beyond it ends the child: error -EFBIG */
    uint32_t timeout_ms;
} ChildSpec;

/* error: 0, -ETIMEDOUT, -EFBIG, -ENOMEM; status: exit code (127: not to be executed), or 128 +
 * signal; -1 when it could not even be killed in time. out: what it wrote, NUL terminated, also
 * after an error. err: the last 2 KiB of stderr, cleaned. The child is freed after the callback,
 * which never comes from inside child_run(). */
typedef void (*ChildCallback)(void *userdata, int error, int status, const char *out,
                              size_t out_len, const char *err);

int child_run(sd_event *event, const ChildSpec *spec, ChildCallback callback, void *userdata,
              Child **ret);
/* The bare beginning, for a child that stays: fds become its 0-2 (the caller closes them in any
 * case; one below 3 is moved up). It leads a process group of its own and dies with us. */
int child_begin(const char *const *argv, int fds[3], pid_t *ret_pid, int *ret_pidfd);
/* Kills it and waits for its end, for half a second at most: for when its loop ends, too. No
 * callback any more. Returns NULL. */
Child *child_cancel(Child *c);
