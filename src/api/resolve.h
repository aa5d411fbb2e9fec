/* Host names to addresses, off the loop: one thread that calls getaddrinfo(), a bounded queue
 * before it.
 *
 * An answer is remembered: for RESOLVE_FRESH_US it is used as it is, after that it is still used at
 * once while the thread asks again behind it. So a name server that hangs delays nothing but names
 * that were never seen. */
#pragma once

#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

#include "basic/clock.h"
#include "basic/epoll-nest.h"

#define RESOLVE_ADDRESSES_MAX 8
#define RESOLVE_QUEUE_MAX     64  /* names that wait */
#define RESOLVE_CACHE_MAX     256 /* names remembered */
#define RESOLVE_NAME_MAX      255
#define RESOLVE_FRESH_US      (60U * 1000000U)

typedef struct Resolver Resolver;

typedef struct ResolveAnswer {
    int error; /* 0; -ENOENT: no such name; -EAGAIN: the name server fails; -EBUSY: too many names
                  wait */
    size_t n;
    struct sockaddr_storage addresses[RESOLVE_ADDRESSES_MAX];
} ResolveAnswer;

/* One question, embedded in its owner; `answer` is called on the loop. */
typedef struct ResolveQuery {
    void (*answer)(struct ResolveQuery *q, const ResolveAnswer *a);
    struct ResolveQuery *next;
    void *name; /* what it waits for; NULL: nothing */
} ResolveQuery;

/* lookup: fills an answer for a name, on the thread; NULL: getaddrinfo(). */
typedef void (*ResolveLookup)(const char *name, ResolveAnswer *ret);

int resolver_new(Nest *nest, ResolveLookup lookup, Resolver **ret);
/* Never waits for a hanging name server: the thread is let go and frees what it holds when it
 * returns. */
Resolver *resolver_free(Resolver *r);

/* Returns 1 with *ret filled from memory, or 0: q->answer follows. -EBUSY, -EINVAL, -ENOMEM. */
int resolve_start(Resolver *r, const char *name, ResolveQuery *q, Now now, ResolveAnswer *ret);
void resolve_cancel(Resolver *r, ResolveQuery *q); /* no-op when it waits for nothing */
