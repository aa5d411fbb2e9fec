/* Small language helpers. No function here does any work of its own. */
#pragma once

#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <unistd.h>

#define CLEANUP(fn)   __attribute__((cleanup(fn)))
#define CLEANUP_FREE  CLEANUP(freep)
#define CLEANUP_CLOSE CLEANUP(closep)
#define MUST_CHECK    __attribute__((warn_unused_result))
#define PRINTF(f, a)  __attribute__((format(printf, f, a)))
#define UNUSED        __attribute__((unused))

#define ELEMENTS(a) (sizeof(a) / sizeof((a)[0]))
#define MIN(a, b)   ((a) < (b) ? (a) : (b))
#define MAX(a, b)   ((a) > (b) ? (a) : (b))

#define container_of(ptr, type, member) ((type *)((char *)(ptr)-offsetof(type, member)))

#define USEC_PER_MSEC UINT64_C(1000)
#define USEC_PER_SEC  UINT64_C(1000000)
#define MSEC_PER_SEC  UINT64_C(1000)

/* Defines the NULL-safe cleanup function `fnp` for a destructor `type *fn(type *)`. */
#define DEFINE_CLEANUP(type, fn)       \
    static inline void fn##p(type **p) \
    {                                  \
        if (*p)                        \
            *p = fn(*p);               \
    }                                  \
    struct fn##_cleanup_semicolon

static inline void freep(void *p)
{
    free(*(void **)p);
}

static inline void closep(const int *fd)
{
    if (*fd >= 0)
        close(*fd);
}

/* Closes fd if it is open; returns -1 so that one line closes and resets. */
static inline int close_fd(int fd)
{
    if (fd >= 0)
        close(fd);
    return -1;
}

/* Hands a pointer over to the caller: the cleanup variable forgets it. */
#define TAKE_PTR(p)                 \
    ({                              \
        __typeof__(p) taken_ = (p); \
        (p) = NULL;                 \
        taken_;                     \
    })
#define TAKE_FD(fd)        \
    ({                     \
        int taken_ = (fd); \
        (fd) = -1;         \
        taken_;            \
    })
