/* Questions about the past: the queue between the loop and the reader thread.
 *
 * A Question is in exactly one place: `asked`, in the reader's hands (`current`), or `answered`.
 * The lock guards the lists and is never held while the database works. The loop is told of answers
 * by an eventfd in its nest, the reader of questions by another one.
 *
 * Cancelling a question that is being read marks it: the reader sees the mark between two looks of
 * SQLite's progress handler, stops, and throws the answer away. So does a limit of 2 s, and the end
 * of the whole. */
#include "api/history.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>

#include "api/history-read.h"
#include "basic/buffer.h"
#include "basic/clock.h"
#include "basic/macro.h"

#define ANSWER_MAX (32U << 20) /* bytes */
#define LIMIT_US   (2 * USEC_PER_SEC)

typedef struct Question {
    struct Question *next;
    uint64_t id;
    HistoryQuestion question;
    HistoryCallback callback;
    void *userdata;
    int error;
    char *json;
    size_t len;
} Question;

struct History {
    Nest *nest;
    NestWatch watch; /* of done_fd */
    int wake_fd;     /* the reader waits for it */
    int done_fd;     /* the loop waits for it */
    pthread_t thread;
    bool started;

    pthread_mutex_t lock; /* guards from here ... */
    Question *asked, *answered;
    uint64_t last_id;
    uint64_t current;  /* id of the question that is being read; 0: none */
    bool is_cancelled; /* that question */
    bool stopping;     /* ... to here */

    HistoryRead *read; /* the reader's */
    uint64_t deadline_us;
};

static Question *question_free(Question *q)
{
    if (q) {
        free(q->json);
        free(q);
    }
    return NULL;
}

static void append(Question **list, Question *q)
{
    while (*list)
        list = &(*list)->next;
    q->next = NULL;
    *list = q;
}

static Question *take_first(Question **list)
{
    Question *q = *list;

    if (q)
        *list = q->next;
    return q;
}

static Question *take_id(Question **list, uint64_t id)
{
    while (*list && (*list)->id != id)
        list = &(*list)->next;
    return take_first(list);
}

static size_t count(const Question *list)
{
    size_t n = 0;

    for (; list; list = list->next)
        n++;
    return n;
}

/* --- the reader --- */

static bool should_stop(void *userdata)
{
    History *h = userdata;

    pthread_mutex_lock(&h->lock);
    bool stop = h->stopping || h->is_cancelled;
    pthread_mutex_unlock(&h->lock);
    return stop || clock_now().mono_us >= h->deadline_us;
}

static void answer(History *h, Question *q)
{
    Buffer b = BUFFER_INIT(ANSWER_MAX);

    h->deadline_us = clock_now().mono_us + LIMIT_US;
    q->error = history_read(h->read, &q->question, &b);
    if (q->error >= 0) {
        q->json = buffer_take(&b, &q->len);
        q->error = q->json ? 0 : -ENOMEM;
    }
    buffer_done(&b);
}

/* The next question, marked as current; NULL when there is none. */
static Question *take_question(History *h)
{
    pthread_mutex_lock(&h->lock);
    Question *q = take_first(&h->asked);
    h->current = q ? q->id : 0;
    h->is_cancelled = false;
    pthread_mutex_unlock(&h->lock);
    return q;
}

static void hand_back(History *h, Question *q)
{
    pthread_mutex_lock(&h->lock);
    bool wanted = !h->is_cancelled && !h->stopping;
    h->current = 0;
    if (wanted)
        append(&h->answered, q);
    pthread_mutex_unlock(&h->lock);
    if (wanted)
        eventfd_write(h->done_fd, 1);
    else
        question_free(q);
}

static bool is_stopping(History *h)
{
    pthread_mutex_lock(&h->lock);
    bool stopping = h->stopping;
    pthread_mutex_unlock(&h->lock);
    return stopping;
}

static void *reader_main(void *arg)
{
    History *h = arg;
    eventfd_t rung;

    while (!is_stopping(h)) {
        Question *q = take_question(h);
        if (q) {
            answer(h, q);
            hand_back(h, q);
            continue;
        }
        if (eventfd_read(h->wake_fd, &rung) < 0 && errno != EINTR)
            break;
    }
    return NULL;
}

/* --- the loop's side --- */

static void deliver(NestWatch *w, uint32_t events UNUSED)
{
    History *h = container_of(w, History, watch);
    eventfd_t rung;

    eventfd_read(h->done_fd, &rung);
    for (;;) {
        pthread_mutex_lock(&h->lock);
        Question *q = take_first(&h->answered);
        pthread_mutex_unlock(&h->lock);
        if (!q)
            return;
        q->callback(q->userdata, q->error, q->json, q->len);
        question_free(q);
    }
}

static int start_thread(History *h)
{
    sigset_t all, before;

    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int r = pthread_create(&h->thread, NULL, reader_main, h);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    h->started = r == 0;
    return -r;
}

History *history_free(History *h)
{
    if (!h)
        return NULL;
    if (h->started) {
        pthread_mutex_lock(&h->lock);
        h->stopping = true;
        pthread_mutex_unlock(&h->lock);
        eventfd_write(h->wake_fd, 1);
        pthread_join(h->thread, NULL);
    }
    nest_remove(h->nest, &h->watch);
    while (h->asked)
        question_free(take_first(&h->asked));
    while (h->answered)
        question_free(take_first(&h->answered));
    history_read_free(h->read);
    close_fd(h->wake_fd);
    close_fd(h->done_fd);
    pthread_mutex_destroy(&h->lock);
    free(h);
    return NULL;
}
DEFINE_CLEANUP(History, history_free);

int history_new(const char *path, Nest *nest, History **ret)
{
    CLEANUP(history_freep) History *h = calloc(1, sizeof *h);

    if (!h)
        return -ENOMEM;
    pthread_mutex_init(&h->lock, NULL);
    h->nest = nest;
    h->watch = NEST_WATCH_INIT;
    h->wake_fd = eventfd(0, EFD_CLOEXEC);
    h->done_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (h->wake_fd < 0 || h->done_fd < 0)
        return -errno;
    int r = history_read_new(path, should_stop, h, &h->read);
    if (r >= 0)
        r = nest_add(nest, &h->watch, h->done_fd, EPOLLIN, deliver);
    if (r >= 0)
        r = start_thread(h);
    if (r < 0)
        return r;
    *ret = TAKE_PTR(h);
    return 0;
}

int history_ask(History *h, const HistoryQuestion *question, HistoryCallback callback,
                void *userdata, uint64_t *ret_id)
{
    Question *q = calloc(1, sizeof *q);

    if (!q)
        return -ENOMEM;
    q->question = *question;
    q->question.app_id[ID_MAX] = q->question.pc_id[ID_MAX] = '\0';
    q->question.transitions = MIN(question->transitions, HISTORY_TRANSITIONS_MAX);
    q->question.hours = MIN(question->hours, HISTORY_HOURS_MAX);
    q->question.points = MIN(question->points, HISTORY_POINTS_MAX);
    q->question.limit = MIN(MAX(question->limit, 1U), HISTORY_TRANSITIONS_MAX);
    q->callback = callback;
    q->userdata = userdata;
    pthread_mutex_lock(&h->lock);
    bool full = count(h->asked) + count(h->answered) >= HISTORY_WAITING_MAX;
    if (!full) {
        q->id = ++h->last_id;
        if (ret_id)
            *ret_id = q->id;
        append(&h->asked, q);
    }
    pthread_mutex_unlock(&h->lock);
    if (full) {
        question_free(q);
        return -EBUSY;
    }
    eventfd_write(h->wake_fd, 1);
    return 0;
}

void history_cancel(History *h, uint64_t id)
{
    pthread_mutex_lock(&h->lock);
    Question *q = take_id(&h->asked, id);
    if (!q)
        q = take_id(&h->answered, id);
    if (!q && id && h->current == id)
        h->is_cancelled = true;
    pthread_mutex_unlock(&h->lock);
    question_free(q);
}
