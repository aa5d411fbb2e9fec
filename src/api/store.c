/* History on disk: the queue and the writer thread.
 *
 * Three batches. `open` belongs to the loop and needs no lock. store_commit() moves it into
 * `waiting`, which both threads share under the lock; the lock is held for pointer moves only,
 * never across a system call of the database. The writer takes `work` from `waiting`, writes it in
 * one transaction and keeps it until that has succeeded, however long the disk takes.
 *
 * The threads wake each other with eventfds and poll(2), not with a condition variable: its waits
 * want an absolute time of a clock, and clocks are read in one place only. The writer is woken when
 * there is something urgent or when the queue was empty, so a quiet tick costs the loop no system
 * call.
 *
 * Nothing here can make the loop wait: memory that cannot be had drops the record and counts it.
 * Closing waits at most CLOSE_MS; if the disk hangs even longer the thread is left to itself and
 * frees the store when it comes back, hence the count of owners. */
#include "api/store.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>

#include "api/store-batch.h"
#include "api/store-schema.h"
#include "api/store-write.h"
#include "basic/clock.h"
#include "basic/log.h"
#include "basic/macro.h"
#include "basic/text.h"

#define RETRY_US        (1 * USEC_PER_SEC)
#define CLEAN_RETRY_US  (60 * USEC_PER_SEC)
#define CLOSE_MS        5000
#define ABANDON_MS      1000
#define OPEN_BATCH_MAX  (1U << 20) /* bytes; a loop that forgets to commit is helped */
#define TRANSACTION_MAX (STORE_CHUNK_CHECKS * 64) /* checks in one transaction */
#define REOPEN_AFTER    3                         /* I/O errors in a row */
#define NOTE_SIZE       512

struct Store {
    StoreBatch open;   /* the loop's */
    uint64_t sequence; /* of the last outbox or audit row that was added; the loop's */

    pthread_mutex_t lock; /* guards from here ... */
    StoreBatch waiting;
    size_t working_bytes, merged_hours;
    uint64_t flush_wanted, flush_done;
    uint32_t delay_ms;
    bool urgent, stopping, abandoned;
    int owners;
    uint64_t durable; /* the last of these rows that is on disk, with all before it */
    bool keep_changed;
    uint32_t keep_checks_days, keep_transitions_days;
    StoreStats stats; /* ... to here */

    int wake_fd; /* the writer waits for it */
    int done_fd; /* store_flush() and store_close() wait for it */
    pthread_t thread;

    StoreWrite *write; /* the writer's from here on */
    StoreBatch work;
    uint64_t due_us;   /* mono; when what waits should be written; 0: nothing waits */
    uint64_t retry_us; /* mono; nothing is tried before; 0: all is well */
    uint64_t clean_us; /* mono; no clean-up before */
    unsigned failures; /* in a row */
};

static Store *store_free(Store *s)
{
    if (s) {
        store_write_free(s->write);
        store_batch_done(&s->open);
        store_batch_done(&s->waiting);
        store_batch_done(&s->work);
        close_fd(s->wake_fd);
        close_fd(s->done_fd);
        pthread_mutex_destroy(&s->lock);
        free(s);
    }
    return NULL;
}
DEFINE_CLEANUP(Store, store_free);

/* The last owner frees. */
static void store_disown(Store *s)
{
    pthread_mutex_lock(&s->lock);
    bool last = --s->owners == 0;
    pthread_mutex_unlock(&s->lock);
    if (last)
        store_free(s);
}

static void ring(int fd)
{
    eventfd_write(fd, 1);
}

/* Waits until the eventfd was rung; false when the time passed. ms < 0: for ever. */
static bool wait_ring(int fd, int ms)
{
    struct pollfd p = {.fd = fd, .events = POLLIN};
    eventfd_t count;

    return poll(&p, 1, ms) > 0 && eventfd_read(fd, &count) == 0;
}

/* --- the loop's side --- */

static void lost(Store *s, int r, uint64_t *counter)
{
    if (r >= 0)
        return;
    pthread_mutex_lock(&s->lock);
    ++*counter;
    pthread_mutex_unlock(&s->lock);
}

static void relieve(Store *s)
{
    if (s->open.bytes > OPEN_BATCH_MAX)
        store_commit(s);
}

void store_add_service(Store *s, uint32_t handle, const char *app_id, const char *pc_id)
{
    lost(s, store_batch_add_name(&s->open, handle, app_id, pc_id), &s->stats.dropped_others);
}

void store_add_check(Store *s, int64_t ts_ms, uint32_t handle, ActiveState state, LoadState load,
                     int8_t port_listening, int32_t http_status, int32_t latency_us)
{
    /* systemctl is-active says "inactive" of a unit that does not exist */
    if (state == ACTIVE_UNKNOWN && load == LOAD_NOT_FOUND)
        state = ACTIVE_INACTIVE;
    StoreCheck check = {
        .ts_ms = ts_ms,
        .handle = handle,
        .latency_us = latency_us,
        .facts = store_facts_pack(state, port_listening, http_status),
    };
    lost(s, store_batch_add_check(&s->open, &check), &s->stats.dropped_checks);
    relieve(s);
}

void store_add_transition(Store *s, const StoreTransition *t)
{
    lost(s, store_batch_add_event(&s->open, t), &s->stats.dropped_others);
    relieve(s);
}

void store_add_incident(Store *s, const StoreIncident *i)
{
    lost(s, store_batch_add_incident(&s->open, i), &s->stats.dropped_others);
    relieve(s);
}

void store_add_boot(Store *s, const StoreBoot *b)
{
    lost(s, store_batch_add_boot(&s->open, b), &s->stats.dropped_others);
    relieve(s);
}

void store_add_silence(Store *s, const Silence *i)
{
    lost(s, store_batch_add_silence(&s->open, i), &s->stats.dropped_others);
    relieve(s);
}

/* It does not relieve: the incident that follows belongs into the same transaction. */
uint64_t store_add_outbox(Store *s, const StoreOutbox *o)
{
    int r = store_batch_add_outbox(&s->open, o, ++s->sequence);

    lost(s, r, &s->stats.dropped_others);
    return s->sequence;
}

uint64_t store_add_audit(Store *s, const StoreAudit *a)
{
    int r = store_batch_add_audit(&s->open, a, ++s->sequence);

    lost(s, r, &s->stats.dropped_others);
    return r < 0 ? 0 : s->sequence;
}

uint64_t store_durable(Store *s)
{
    pthread_mutex_lock(&s->lock);
    uint64_t durable = s->durable;
    pthread_mutex_unlock(&s->lock);
    return durable;
}

void store_add_hour(Store *s, int64_t hour_ms, uint32_t handle, uint32_t healthy_ms,
                    uint32_t observed_ms, uint32_t transitions)
{
    StoreHour hour = {
        .hour_ms = hour_ms,
        .handle = handle,
        .healthy_ms = healthy_ms,
        .observed_ms = observed_ms,
        .transitions = transitions,
    };
    lost(s, store_batch_add_hour(&s->open, &hour), &s->stats.dropped_others);
    relieve(s);
}

/* Under the lock: keeps what waits within its bounds. */
static void trim_queue(Store *s)
{
    StoreBatch *b = &s->waiting;
    size_t room = STORE_QUEUE_MAX - MIN(s->working_bytes, (size_t)STORE_QUEUE_MAX / 2);

    if (b->bytes <= room)
        return;
    if (b->n_hours > 2 * s->merged_hours) {
        store_batch_merge_hours(b);
        s->merged_hours = b->n_hours;
    }
    s->stats.dropped_checks += store_batch_drop_checks(b, room);
    s->stats.dropped_others += store_batch_drop_events(b, 2 * room);
}

void store_commit(Store *s)
{
    if (store_batch_is_empty(&s->open))
        return;
    pthread_mutex_lock(&s->lock);
    bool was_empty = store_batch_is_empty(&s->waiting);
    bool was_urgent = s->urgent;
    store_batch_move(&s->waiting, &s->open);
    trim_queue(s);
    s->urgent = was_urgent || s->waiting.events || s->waiting.n_checks >= TRANSACTION_MAX;
    s->stats.queue_bytes = s->waiting.bytes + s->working_bytes;
    bool wake = was_empty || s->urgent != was_urgent;
    pthread_mutex_unlock(&s->lock);
    if (wake)
        ring(s->wake_fd);
}

int store_flush(Store *s, uint32_t timeout_ms)
{
    bool done = false;

    store_commit(s);
    pthread_mutex_lock(&s->lock);
    uint64_t ticket = ++s->flush_wanted;
    pthread_mutex_unlock(&s->lock);
    ring(s->wake_fd);
    /* a second round only where an earlier flush, given up in time, was answered late */
    while (!done && wait_ring(s->done_fd, (int)MIN(timeout_ms, 3600000U))) {
        pthread_mutex_lock(&s->lock);
        done = s->flush_done >= ticket;
        pthread_mutex_unlock(&s->lock);
    }
    return done ? 0 : -ETIMEDOUT;
}

void store_stats(Store *s, StoreStats *ret)
{
    pthread_mutex_lock(&s->lock);
    *ret = s->stats;
    pthread_mutex_unlock(&s->lock);
}

void store_set_delay_ms(Store *s, uint32_t ms)
{
    pthread_mutex_lock(&s->lock);
    s->delay_ms = ms;
    pthread_mutex_unlock(&s->lock);
}

/* --- the writer's side --- */

/* The test hook's sleep, which ends early when it is switched off or the store is given up. */
static void nap(Store *s)
{
    bool asleep = true;

    for (uint32_t slept = 0; asleep; slept += 10) {
        pthread_mutex_lock(&s->lock);
        asleep = slept < s->delay_ms && !s->abandoned;
        pthread_mutex_unlock(&s->lock);
        if (asleep)
            poll(NULL, 0, 10);
    }
}

static void tell_note(Store *s, const char *note)
{
    if (note[0] == '\0')
        return;
    log_warning("history: %s", note);
    pthread_mutex_lock(&s->lock);
    text_copy(s->stats.note, sizeof s->stats.note, note);
    pthread_mutex_unlock(&s->lock);
}

static void tell_failure(Store *s, const char *why)
{
    if (s->failures++ == 0)
        log_warning("history cannot be written, it waits in memory: %s", why);
    pthread_mutex_lock(&s->lock);
    s->stats.failed_commits++;
    text_copy(s->stats.error, sizeof s->stats.error, why);
    pthread_mutex_unlock(&s->lock);
}

static void tell_success(Store *s, const StoreWritten *written, uint64_t sequence)
{
    int64_t now_ms = clock_now().wall_ms;

    if (s->failures)
        log_info("history is written again");
    s->failures = 0;
    pthread_mutex_lock(&s->lock);
    s->working_bytes = 0;
    s->stats.rows_written += written->rows;
    s->stats.refused += written->refused;
    s->durable = MAX(s->durable, sequence);
    s->stats.commits++;
    s->stats.last_commit_ms = now_ms;
    s->stats.error[0] = '\0';
    s->stats.queue_bytes = s->waiting.bytes;
    pthread_mutex_unlock(&s->lock);
}

/* A damaged file makes room for a new one; one that does not fit us any more, or that the disk has
 * trouble with, is judged anew by opening it again. A full disk just needs time. */
static void recover(Store *s, int r)
{
    char note[NOTE_SIZE] = "";

    if (r == -EBADMSG)
        store_write_close(s->write, true, note, sizeof note);
    else if (r == -ENOTSUP || (r == -EIO && s->failures % REOPEN_AFTER == 0))
        store_write_close(s->write, false, note, sizeof note);
    tell_note(s, note);
    s->retry_us = clock_now().mono_us + RETRY_US;
}

static int make_ready(Store *s)
{
    char note[NOTE_SIZE] = "";

    store_write_follow(s->write);
    int r = store_write_open(s->write, note, sizeof note);
    if (r >= 0)
        tell_note(s, note);
    return r;
}

/* Writes `work`; keeps it when that fails. */
static void write_work(Store *s)
{
    StoreWritten written = {0};

    nap(s);
    int r = make_ready(s);
    if (r >= 0)
        r = store_write_batch(s->write, &s->work, &written);
    if (r < 0) {
        tell_failure(s, store_write_error(s->write));
        recover(s, r);
        return;
    }
    uint64_t sequence = s->work.sequence;
    store_batch_done(&s->work);
    s->retry_us = 0;
    tell_success(s, &written, sequence);
    r = store_write_checkpoint(s->write);
    if (r == -EBADMSG)
        recover(s, r);
}

/* True when there is a batch to write now. */
static bool take_work(Store *s, uint64_t now_us)
{
    if (!store_batch_is_empty(&s->work))
        return true;
    pthread_mutex_lock(&s->lock);
    bool empty = store_batch_is_empty(&s->waiting);
    bool at_once = s->urgent || s->stopping || s->flush_wanted != s->flush_done;
    if (empty)
        s->due_us = 0;
    else if (s->due_us == 0)
        s->due_us = now_us + STORE_GATHER_MS * USEC_PER_MSEC;
    bool take = !empty && (at_once || now_us >= s->due_us);
    if (take) {
        store_batch_take(&s->work, &s->waiting, TRANSACTION_MAX);
        s->working_bytes = s->work.bytes;
        s->merged_hours = 0;
        s->urgent = s->waiting.n_checks >= TRANSACTION_MAX;
        s->due_us = 0;
    }
    pthread_mutex_unlock(&s->lock);
    return take;
}

static void answer_flush(Store *s)
{
    pthread_mutex_lock(&s->lock);
    bool answer = s->flush_done != s->flush_wanted && store_batch_is_empty(&s->waiting);
    if (answer)
        s->flush_done = s->flush_wanted;
    pthread_mutex_unlock(&s->lock);
    if (answer)
        ring(s->done_fd);
}

static void take_keep(Store *s)
{
    pthread_mutex_lock(&s->lock);
    bool changed = s->keep_changed;
    uint32_t checks_days = s->keep_checks_days, transitions_days = s->keep_transitions_days;
    s->keep_changed = false;
    pthread_mutex_unlock(&s->lock);
    if (changed)
        store_write_keep(s->write, checks_days, transitions_days);
}

/* True when a slice was done and there may be more. */
static bool clean(Store *s)
{
    Now now = clock_now();

    take_keep(s);
    if (now.mono_us < s->clean_us)
        return false;
    int r = store_write_clean(s->write, now);
    if (r < 0) {
        s->clean_us = now.mono_us + CLEAN_RETRY_US;
        tell_failure(s, store_write_error(s->write));
        recover(s, r);
    }
    return r > 0;
}

static int ms_until(uint64_t then_us, uint64_t now_us)
{
    return then_us > now_us ? (int)((then_us - now_us) / USEC_PER_MSEC) + 1 : 0;
}

static bool should_end(Store *s)
{
    pthread_mutex_lock(&s->lock);
    bool drained = store_batch_is_empty(&s->waiting) && store_batch_is_empty(&s->work);
    bool end = s->abandoned || (s->stopping && drained);
    pthread_mutex_unlock(&s->lock);
    return end;
}

/* Does what is due; returns how long there is nothing to do, in ms (-1: until woken). */
static int writer_step(Store *s)
{
    uint64_t now_us = clock_now().mono_us;

    if (s->retry_us > now_us)
        return ms_until(s->retry_us, now_us);
    if (take_work(s, now_us)) {
        write_work(s);
        return 0;
    }
    answer_flush(s);
    if (clean(s))
        return 0;
    return s->due_us ? ms_until(s->due_us, clock_now().mono_us) : -1;
}

static void *writer_main(void *arg)
{
    Store *s = arg;

    while (!should_end(s)) {
        int ms = writer_step(s);
        if (ms != 0)
            wait_ring(s->wake_fd, ms);
    }
    s->write = store_write_free(s->write);
    ring(s->done_fd);
    store_disown(s);
    return NULL;
}

void store_keep(Store *s, uint32_t checks_days, uint32_t transitions_days)
{
    pthread_mutex_lock(&s->lock);
    s->keep_checks_days = checks_days;
    s->keep_transitions_days = transitions_days;
    s->keep_changed = true;
    pthread_mutex_unlock(&s->lock);
    ring(s->wake_fd);
}

/* --- life --- */

static bool may_pass(int r)
{
    return r == -ENOSPC || r == -EDQUOT || r == -EIO || r == -ENOMEM || r == -EMFILE ||
           r == -ENFILE;
}

/* Signals belong to the loop. */
static int start_thread(Store *s)
{
    sigset_t all, before;

    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int r = pthread_create(&s->thread, NULL, writer_main, s);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return -r;
}

int store_open(const char *path, uint32_t checks_days, uint32_t transitions_days, char *note,
               size_t size, Store **ret)
{
    CLEANUP(store_freep) Store *s = calloc(1, sizeof *s);

    note[0] = '\0';
    if (!s)
        return -ENOMEM;
    pthread_mutex_init(&s->lock, NULL);
    s->owners = 2;
    s->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    s->done_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (s->wake_fd < 0 || s->done_fd < 0)
        return -errno;
    int r = store_write_new(path, checks_days, transitions_days, &s->write);
    if (r < 0)
        return r;
    r = store_write_open(s->write, note, size);
    if (r < 0 && !may_pass(r))
        return r;
    text_copy(r < 0 ? s->stats.error : s->stats.note,
              r < 0 ? sizeof s->stats.error : sizeof s->stats.note, note);
    r = start_thread(s);
    if (r < 0)
        return r;
    *ret = TAKE_PTR(s);
    return 0;
}

Store *store_close(Store *s)
{
    if (!s)
        return NULL;
    store_commit(s);
    pthread_mutex_lock(&s->lock);
    s->stopping = true;
    s->flush_done = s->flush_wanted;
    pthread_mutex_unlock(&s->lock);
    eventfd_t stale;
    eventfd_read(s->done_fd, &stale);
    ring(s->wake_fd);
    bool ended = wait_ring(s->done_fd, CLOSE_MS);
    if (!ended) {
        pthread_mutex_lock(&s->lock);
        s->abandoned = true;
        pthread_mutex_unlock(&s->lock);
        ring(s->wake_fd);
        ended = wait_ring(s->done_fd, ABANDON_MS);
        log_warning("history: the disk is too slow, the last records were given up");
    }
    if (ended)
        pthread_join(s->thread, NULL);
    else
        pthread_detach(s->thread);
    store_disown(s);
    return NULL;
}
