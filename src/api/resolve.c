/* One thread and a table of names.
 *
 * The loop owns the names and the queries that wait for them; the thread sees only jobs, which are
 * copies. Jobs go to it through a list under a mutex and come back through another one, with an
 * eventfd as the bell. What both share is counted by references, because the thread may hang in
 * getaddrinfo() for longer than the Resolver lives.
 *
 * A name has at most one job out, however many queries wait for it. */
#include "api/resolve.h"

#include <errno.h>
#include <netdb.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>

#include "basic/macro.h"
#include "basic/text.h"

typedef struct Job {
    struct Job *next;
    char name[RESOLVE_NAME_MAX + 1];
    ResolveAnswer answer;
} Job;

typedef struct JobList {
    Job *first, *last;
    size_t n;
} JobList;

/* What loop and thread share. */
typedef struct Desk {
    pthread_mutex_t lock;
    pthread_cond_t bell;
    ResolveLookup lookup;
    JobList todo, done;
    int fd; /* eventfd: done is not empty */
    int refs;
    bool closing;
} Desk;

typedef struct Name {
    struct Name *next;
    char text[RESOLVE_NAME_MAX + 1];
    ResolveAnswer answer; /* the last good one; n is 0 before that */
    uint64_t at_us;       /* when it was good */
    uint64_t used_us;
    ResolveQuery *waiting;
    ResolveQuery *answering; /* those that are being told */
    bool asked;
    bool busy; /* its queries are being told: not to be forgotten */
} Name;

struct Resolver {
    Nest *nest;
    NestWatch watch;
    Desk *desk;
    Name *names;
    size_t n_names;
};

static void list_push(JobList *l, Job *j)
{
    j->next = NULL;
    if (l->last)
        l->last->next = j;
    else
        l->first = j;
    l->last = j;
    l->n++;
}

static Job *list_pop(JobList *l)
{
    Job *j = l->first;

    if (j) {
        l->first = j->next;
        if (!l->first)
            l->last = NULL;
        l->n--;
    }
    return j;
}

/* ---- the thread ---- */

static void lookup_by_libc(const char *name, ResolveAnswer *ret)
{
    struct addrinfo hints = {
        .ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM, .ai_flags = AI_ADDRCONFIG};
    struct addrinfo *list = NULL;
    int r = getaddrinfo(name, NULL, &hints, &list);

    if (r != 0) {
        ret->error = r == EAI_NONAME || r == EAI_NODATA ? -ENOENT : -EAGAIN;
        return;
    }
    for (struct addrinfo *a = list; a && ret->n < RESOLVE_ADDRESSES_MAX; a = a->ai_next)
        if (a->ai_addrlen <= sizeof ret->addresses[0])
            memcpy(&ret->addresses[ret->n++], a->ai_addr, a->ai_addrlen);
    freeaddrinfo(list);
    if (ret->n == 0)
        ret->error = -ENOENT;
}

static void desk_unref(Desk *d)
{
    pthread_mutex_lock(&d->lock);
    int refs = --d->refs;
    pthread_mutex_unlock(&d->lock);
    if (refs > 0)
        return;
    for (Job *j; (j = list_pop(&d->todo));)
        free(j);
    for (Job *j; (j = list_pop(&d->done));)
        free(j);
    close_fd(d->fd);
    pthread_cond_destroy(&d->bell);
    pthread_mutex_destroy(&d->lock);
    free(d);
}

static void *thread_main(void *userdata)
{
    Desk *d = userdata;

    pthread_mutex_lock(&d->lock);
    while (!d->closing) {
        Job *j = list_pop(&d->todo);
        if (!j) {
            pthread_cond_wait(&d->bell, &d->lock);
            continue;
        }
        pthread_mutex_unlock(&d->lock);
        d->lookup(j->name, &j->answer);
        pthread_mutex_lock(&d->lock);
        list_push(&d->done, j);
        eventfd_write(d->fd, 1);
    }
    pthread_mutex_unlock(&d->lock);
    desk_unref(d);
    return NULL;
}

static int thread_start(Desk *d)
{
    sigset_t all, before;
    pthread_t thread;
    pthread_attr_t attr;

    if (pthread_attr_init(&attr) != 0)
        return -ENOMEM;
    pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    d->refs++;
    int r = pthread_create(&thread, &attr, thread_main, d);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    pthread_attr_destroy(&attr);
    if (r != 0)
        d->refs--;
    return -r;
}

/* ---- the loop's side ---- */

static Name *name_find(Resolver *r, const char *text)
{
    for (Name *n = r->names; n; n = n->next)
        if (strcasecmp(n->text, text) == 0)
            return n;
    return NULL;
}

/* Forgets the name that was not used for the longest time and that nobody waits for. */
static bool name_evict(Resolver *r)
{
    Name **oldest = NULL;

    for (Name **at = &r->names; *at; at = &(*at)->next)
        if (!(*at)->asked && !(*at)->busy && (!oldest || (*at)->used_us < (*oldest)->used_us))
            oldest = at;
    if (!oldest)
        return false;
    Name *n = *oldest;
    *oldest = n->next;
    free(n);
    r->n_names--;
    return true;
}

static int name_get(Resolver *r, const char *text, Name **ret)
{
    Name *n = name_find(r, text);

    if (!n) {
        if (r->n_names == RESOLVE_CACHE_MAX && !name_evict(r))
            return -EBUSY;
        n = calloc(1, sizeof *n);
        if (!n)
            return -ENOMEM;
        text_copy(n->text, sizeof n->text, text);
        n->next = r->names;
        r->names = n;
        r->n_names++;
    }
    *ret = n;
    return 0;
}

static int name_ask(Resolver *r, Name *n)
{
    Desk *d = r->desk;

    if (n->asked)
        return 0;
    Job *j = calloc(1, sizeof *j);
    if (!j)
        return -ENOMEM;
    text_copy(j->name, sizeof j->name, n->text);
    pthread_mutex_lock(&d->lock);
    bool full = d->todo.n >= RESOLVE_QUEUE_MAX;
    if (!full) {
        list_push(&d->todo, j);
        pthread_cond_signal(&d->bell);
    }
    pthread_mutex_unlock(&d->lock);
    if (full) {
        free(j);
        return -EBUSY;
    }
    n->asked = true;
    return 0;
}

static void job_finish(Resolver *r, const Job *j, uint64_t now_us)
{
    Name *n = name_find(r, j->name);

    n->asked = false;
    if (j->answer.error == 0) {
        n->answer = j->answer;
        n->at_us = now_us;
    } else if (j->answer.error == -ENOENT) {
        n->answer.n = 0; /* the name is gone; a failing name server alone takes nothing away */
    }
    n->busy = true;
    n->answering = n->waiting;
    n->waiting = NULL;
    while (n->answering) {
        ResolveQuery *q = n->answering;
        n->answering = q->next;
        q->name = NULL;
        q->answer(q, &j->answer);
    }
    n->busy = false;
}

static void on_bell(NestWatch *w, uint32_t events UNUSED)
{
    Resolver *r = container_of(w, Resolver, watch);
    uint64_t now_us = clock_now().mono_us;
    eventfd_t count;

    eventfd_read(r->desk->fd, &count);
    for (;;) {
        pthread_mutex_lock(&r->desk->lock);
        CLEANUP_FREE Job *j = list_pop(&r->desk->done);
        pthread_mutex_unlock(&r->desk->lock);
        if (!j)
            break;
        job_finish(r, j, now_us);
    }
}

static int desk_new(ResolveLookup lookup, Desk **ret)
{
    Desk *d = calloc(1, sizeof *d);

    if (!d)
        return -ENOMEM;
    d->lookup = lookup ? lookup : lookup_by_libc;
    d->refs = 1;
    pthread_mutex_init(&d->lock, NULL);
    pthread_cond_init(&d->bell, NULL);
    d->fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    int r = d->fd < 0 ? -errno : thread_start(d);
    if (r < 0) {
        desk_unref(d);
        return r;
    }
    *ret = d;
    return 0;
}

int resolver_new(Nest *nest, ResolveLookup lookup, Resolver **ret)
{
    Resolver *r = calloc(1, sizeof *r);

    if (!r)
        return -ENOMEM;
    r->nest = nest;
    r->watch = NEST_WATCH_INIT;
    int e = desk_new(lookup, &r->desk);
    if (e >= 0)
        e = nest_add(nest, &r->watch, r->desk->fd, EPOLLIN, on_bell);
    if (e < 0) {
        resolver_free(r);
        return e;
    }
    *ret = r;
    return 0;
}

Resolver *resolver_free(Resolver *r)
{
    if (!r)
        return NULL;
    nest_remove(r->nest, &r->watch);
    if (r->desk) {
        pthread_mutex_lock(&r->desk->lock);
        r->desk->closing = true;
        pthread_cond_signal(&r->desk->bell);
        pthread_mutex_unlock(&r->desk->lock);
        desk_unref(r->desk);
    }
    for (Name *n = r->names, *next; n; n = next) {
        next = n->next;
        free(n);
    }
    free(r);
    return NULL;
}

int resolve_start(Resolver *r, const char *name, ResolveQuery *q, Now now, ResolveAnswer *ret)
{
    Name *n = NULL;
    size_t len = strlen(name);

    if (len == 0 || len > RESOLVE_NAME_MAX)
        return -EINVAL;
    int e = name_get(r, name, &n);
    if (e < 0)
        return e;
    n->used_us = now.mono_us;
    if (n->answer.n > 0) {
        if (now.mono_us > n->at_us + RESOLVE_FRESH_US)
            name_ask(r, n); /* a full queue only means that it stays as old as it is */
        *ret = n->answer;
        return 1;
    }
    e = name_ask(r, n);
    if (e < 0)
        return e;
    q->name = n;
    q->next = n->waiting;
    n->waiting = q;
    return 0;
}

static bool list_remove(ResolveQuery **list, ResolveQuery *q)
{
    for (; *list; list = &(*list)->next)
        if (*list == q) {
            *list = q->next;
            return true;
        }
    return false;
}

void resolve_cancel(Resolver *r UNUSED, ResolveQuery *q)
{
    Name *n = q->name;

    if (n && !list_remove(&n->waiting, q))
        list_remove(&n->answering, q);
    q->name = NULL;
}
