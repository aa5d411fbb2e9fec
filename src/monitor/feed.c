/* Two threads and one queue.
 *
 * The stream's thread (of common/client) parses each message into a Change and appends it. When
 * FEED_PENDING_MAX wait, it stops until the frame thread has taken them: the daemon then sees a
 * slow reader, cuts us off, and a snapshot heals it, so nothing here grows. The worker does one
 * request at a time; its queue is bounded too.
 *
 * Everything shared lies behind one mutex. `wake` is called with the mutex free. */
#include "monitor/feed.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "basic/clock.h"
#include "basic/i18n.h"
#include "basic/macro.h"
#include "basic/text.h"

#define HISTORY_PATH   "/api/transitions?limit=1000"
#define SILENCES_PATH  "/api/silences"
#define DETAIL_QUERY   "?transitions=500&hours=168&points=720&journal=200"
#define REQUEST_MS     8000
#define JOB_PATH_BYTES (2 * ID_MAX + 128)

#define JOB_BODY_BYTES 2048

typedef enum JobKind {
    JOB_HISTORY,
    JOB_DETAIL,
    JOB_CHECK,
    JOB_ACTION,
    JOB_ACK,
    JOB_SILENCE,
    JOB_UNSILENCE,
    JOB_SILENCES,
} JobKind;

typedef struct Job {
    JobKind kind;
    Pair pair;
    char action[16]; /* of JOB_SILENCE its kind */
    char id[64];     /* of an alert or a silence */
    char comment[COMMENT_MAX + 1];
    uint32_t for_s;
} Job;

struct Feed {
    char *base_url;
    FeedWake wake;
    void *userdata;
    FeedToken token; /* NULL: none; set before the first action */
    void *token_userdata;
    ClientStream *stream;
    pthread_t worker;
    bool has_worker;
    pthread_mutex_t lock;
    pthread_cond_t room; /* the frame thread took what waited, or we stop */
    pthread_cond_t work; /* a job came, or we stop */
    bool stop;
    Change *first, *last;
    size_t n_pending;
    Job jobs[FEED_JOBS_MAX];
    size_t n_jobs;
    bool working;
};

static void push(Feed *f, Change *c)
{
    pthread_mutex_lock(&f->lock);
    while (f->n_pending >= FEED_PENDING_MAX && !f->stop)
        pthread_cond_wait(&f->room, &f->lock);
    if (f->stop) {
        pthread_mutex_unlock(&f->lock);
        change_free(c);
        return;
    }
    if (f->last)
        f->last->next = c;
    else
        f->first = c;
    f->last = c;
    f->n_pending++;
    pthread_mutex_unlock(&f->lock);
    f->wake(f->userdata);
}

Change *feed_take(Feed *f)
{
    pthread_mutex_lock(&f->lock);
    Change *all = f->first;
    f->first = f->last = NULL;
    f->n_pending = 0;
    pthread_cond_broadcast(&f->room);
    pthread_mutex_unlock(&f->lock);
    return all;
}

bool feed_is_busy(Feed *f)
{
    pthread_mutex_lock(&f->lock);
    bool busy = f->n_jobs > 0 || f->working || f->first;
    pthread_mutex_unlock(&f->lock);
    return busy;
}

/* ---- the stream's thread ---- */

static void on_state(void *userdata, ClientState state, const char *sentence)
{
    Feed *f = userdata;
    Change *c;

    if (change_new(CHANGE_STATE, clock_now().wall_ms, &c) < 0)
        return;
    c->state = state;
    if (sentence)
        text_clean(c->text, sizeof c->text, sentence, strlen(sentence));
    push(f, c);
}

static void on_message(void *userdata, const char *type, const Json *message)
{
    Feed *f = userdata;
    Change *c;

    if (change_from_message(type, message, clock_now().wall_ms, &c) == 0)
        push(f, c);
}

/* ---- the worker's thread ---- */

static int ask(Feed *f, const Job *job, const char *path, const char *body, ClientReply *ret,
               Json **ret_json, char *error, size_t size)
{
    char token[CLIENT_TOKEN_BYTES] = "";
    int r = 0;

    if (job->kind == JOB_ACTION && f->token)
        r = f->token(f->token_userdata, token, error, size);
    if (r == 0)
        r = job->kind == JOB_UNSILENCE
                ? client_delete(f->base_url, NULL, path, REQUEST_MS, ret, error, size)
                : client_request(f->base_url, token[0] ? token : NULL, path, body, REQUEST_MS, ret,
                                 error, size);
    explicit_bzero(token, sizeof token);
    if (r < 0)
        return r;
    *ret_json = json_parse(ret->body, ret->len);
    if (ret->status >= 200 && ret->status < 300) {
        if (*ret_json)
            return 0;
        text_copy(error, size, _("the daemon's answer is not JSON"));
        return -EPROTO;
    }
    const char *detail = json_as_string(json_get(*ret_json, "detail"),
                                        json_as_string(json_get(*ret_json, "title"), ""));
    if (detail[0])
        text_clean(error, size, detail, strlen(detail));
    else
        snprintf(error, size, _("the daemon answers with status %ld"), ret->status);
    return -EREMOTEIO;
}

static Change *answer_history(const Json *j, int r)
{
    Change *c = NULL;

    if (r == 0 && change_from_history(j, clock_now().wall_ms, &c) == 0)
        return c;
    return change_new(CHANGE_HISTORY, clock_now().wall_ms, &c) == 0 ? c : NULL;
}

static Change *answer_detail(const Job *job, const Json *j, int r, const char *error)
{
    CLEANUP(change_freep) Change *c = NULL;

    if (change_new(CHANGE_DETAIL, clock_now().wall_ms, &c) < 0 ||
        detail_new(job->pair.app_id, job->pair.pc_id, &c->detail) < 0)
        return NULL;
    if (r == 0 && detail_read(c->detail, j) == 0) {
        c->detail->fetched_ms = c->received_ms;
        return TAKE_PTR(c);
    }
    c->detail->state = DETAIL_FAILED;
    text_clean(c->detail->error, sizeof c->detail->error, error, strlen(error));
    return TAKE_PTR(c);
}

static void done_text(const Job *job, char *ret, size_t size)
{
    const char *app = job->pair.app_id, *pc = job->pair.pc_id;
    char subject[2 * ID_MAX + 16];

    if (app[0] && pc[0])
        snprintf(subject, sizeof subject, _("%s on %s"), app, pc);
    else
        text_copy(subject, sizeof subject, app[0] ? app : pc);
    switch (job->kind) {
    case JOB_CHECK: snprintf(ret, size, _("%s on %s: checked"), app, pc); break;
    case JOB_ACK: text_copy(ret, size, _("the alert is acknowledged")); break;
    case JOB_SILENCE:
        snprintf(ret, size,
                 strcmp(job->action, "maintenance") == 0 ? _("%s is under maintenance")
                                                         : _("%s is silenced"),
                 subject);
        break;
    case JOB_UNSILENCE: text_copy(ret, size, _("it is ended")); break;
    default: snprintf(ret, size, _("%s on %s: %s done"), app, pc, job->action);
    }
}

static Change *answer_silences(const Json *j, int r)
{
    Change *c = NULL;

    return r == 0 && change_from_silences(j, clock_now().wall_ms, &c) == 0 ? c : NULL;
}

static Change *answer_command(const Job *job, const Json *j, int r, const char *error)
{
    CLEANUP(change_freep) Change *c = NULL;

    if (change_new(CHANGE_ANSWER, clock_now().wall_ms, &c) < 0)
        return NULL;
    c->failed = r < 0;
    if (r < 0)
        text_clean(c->text, sizeof c->text, error, strlen(error));
    else
        done_text(job, c->text, sizeof c->text);
    const char *outcome = json_as_string(json_get(json_get(j, "action"), "outcome"), "");
    if (r == 0 && strcmp(outcome, "requested") == 0)
        snprintf(c->text, sizeof c->text, _("%s on %s: %s is still at work"), job->pair.app_id,
                 job->pair.pc_id, job->action);
    c->services = calloc(1, sizeof *c->services);
    if (c->services && r == 0 && service_row_read(j, c->services) == 0) {
        field_clean(c->services->sentence, sizeof c->services->sentence);
        field_clean(c->services->title, sizeof c->services->title);
        c->n_services = 1;
    }
    return TAKE_PTR(c);
}

static void job_path(const Job *job, char ret[static JOB_PATH_BYTES])
{
    static const char *const tails[] = {
        [JOB_DETAIL] = DETAIL_QUERY, [JOB_CHECK] = "/check", [JOB_ACTION] = "/action"};

    switch (job->kind) {
    case JOB_HISTORY: text_copy(ret, JOB_PATH_BYTES, HISTORY_PATH); break;
    case JOB_ACK: snprintf(ret, JOB_PATH_BYTES, "/api/alerts/%s/ack", job->id); break;
    case JOB_UNSILENCE: snprintf(ret, JOB_PATH_BYTES, SILENCES_PATH "/%s", job->id); break;
    case JOB_SILENCE:
    case JOB_SILENCES: text_copy(ret, JOB_PATH_BYTES, SILENCES_PATH); break;
    default:
        snprintf(ret, JOB_PATH_BYTES, "/api/services/%s/%s%s", job->pair.app_id, job->pair.pc_id,
                 tails[job->kind]);
    }
}

/* False: it has none, it is a GET or a DELETE. */
static bool job_body(const Job *job, Buffer *b)
{
    if (job->kind != JOB_CHECK && job->kind != JOB_ACTION && job->kind != JOB_ACK &&
        job->kind != JOB_SILENCE)
        return false;
    json_open_object(b, NULL);
    if (job->kind == JOB_ACTION)
        json_string(b, "action", job->action);
    if (job->kind == JOB_SILENCE) {
        json_string(b, "kind", job->action);
        json_string(b, "app_id", job->pair.app_id[0] ? job->pair.app_id : NULL);
        json_string(b, "pc_id", job->pair.pc_id[0] ? job->pair.pc_id : NULL);
        json_int(b, "for_s", job->for_s);
    }
    if (job->kind == JOB_ACK || job->kind == JOB_SILENCE)
        json_string(b, "comment", job->comment);
    json_close_object(b);
    return true;
}

static void job_run(Feed *f, const Job *job)
{
    CLEANUP(client_reply_done) ClientReply reply = {0};
    CLEANUP(json_freep) Json *j = NULL;
    CLEANUP(buffer_done) Buffer body = BUFFER_INIT(JOB_BODY_BYTES);
    char path[JOB_PATH_BYTES], error[SENTENCE_MAX] = "";
    Change *c;

    job_path(job, path);
    bool has_body = job_body(job, &body);
    int r =
        ask(f, job, path, has_body ? buffer_cstr(&body) : NULL, &reply, &j, error, sizeof error);
    if (job->kind == JOB_HISTORY)
        c = answer_history(j, r);
    else if (job->kind == JOB_DETAIL)
        c = answer_detail(job, j, r, error);
    else if (job->kind == JOB_SILENCES)
        c = answer_silences(j, r);
    else
        c = answer_command(job, j, r, error);
    if (c)
        push(f, c);
    if (job->kind == JOB_SILENCE || job->kind == JOB_UNSILENCE)
        job_run(f, &(Job){.kind = JOB_SILENCES});
}

static void *worker_main(void *userdata)
{
    Feed *f = userdata;

    pthread_mutex_lock(&f->lock);
    while (!f->stop) {
        if (f->n_jobs == 0) {
            pthread_cond_wait(&f->work, &f->lock);
            continue;
        }
        Job job = f->jobs[0];
        f->n_jobs--;
        memmove(f->jobs, f->jobs + 1, f->n_jobs * sizeof *f->jobs);
        f->working = true;
        pthread_mutex_unlock(&f->lock);
        job_run(f, &job);
        pthread_mutex_lock(&f->lock);
        f->working = false;
    }
    pthread_mutex_unlock(&f->lock);
    return NULL;
}

/* ---- the frame thread ---- */

static bool same_job(const Job *a, const Job *b)
{
    return a->kind == b->kind && strcmp(a->pair.app_id, b->pair.app_id) == 0 &&
           strcmp(a->pair.pc_id, b->pair.pc_id) == 0 && strcmp(a->action, b->action) == 0 &&
           strcmp(a->id, b->id) == 0 && strcmp(a->comment, b->comment) == 0 && a->for_s == b->for_s;
}

static int want_job(Feed *f, const Job *job)
{
    int r = 0;

    pthread_mutex_lock(&f->lock);
    bool known = false;
    for (size_t i = 0; i < f->n_jobs; i++)
        known = known || same_job(&f->jobs[i], job);
    if (!known && f->n_jobs == FEED_JOBS_MAX)
        r = -EBUSY;
    else if (!known)
        f->jobs[f->n_jobs++] = *job;
    pthread_cond_signal(&f->work);
    pthread_mutex_unlock(&f->lock);
    return r;
}

static int want(Feed *f, JobKind kind, const char *app_id, const char *pc_id, const char *action)
{
    Job job = {.kind = kind};

    text_copy(job.pair.app_id, sizeof job.pair.app_id, app_id);
    text_copy(job.pair.pc_id, sizeof job.pair.pc_id, pc_id);
    text_copy(job.action, sizeof job.action, action);
    return want_job(f, &job);
}

int feed_want_ack(Feed *f, const char *alert_id, const char *comment)
{
    Job job = {.kind = JOB_ACK};

    text_copy(job.id, sizeof job.id, alert_id);
    text_copy(job.comment, sizeof job.comment, comment);
    return want_job(f, &job);
}

int feed_want_silence(Feed *f, const char *kind, const Pair *pair, uint32_t for_s,
                      const char *comment)
{
    Job job = {.kind = JOB_SILENCE, .pair = *pair, .for_s = for_s};

    text_copy(job.action, sizeof job.action, kind);
    text_copy(job.comment, sizeof job.comment, comment);
    return want_job(f, &job);
}

int feed_want_unsilence(Feed *f, int64_t id)
{
    Job job = {.kind = JOB_UNSILENCE};

    snprintf(job.id, sizeof job.id, "%lld", (long long)id);
    return want_job(f, &job);
}

int feed_want_silences(Feed *f)
{
    return want(f, JOB_SILENCES, "", "", "");
}

int feed_want_detail(Feed *f, const char *app_id, const char *pc_id)
{
    return want(f, JOB_DETAIL, app_id, pc_id, "");
}

int feed_want_history(Feed *f)
{
    return want(f, JOB_HISTORY, "", "", "");
}

int feed_want_check(Feed *f, const char *app_id, const char *pc_id)
{
    return want(f, JOB_CHECK, app_id, pc_id, "");
}

int feed_want_action(Feed *f, const char *app_id, const char *pc_id, const char *action)
{
    return want(f, JOB_ACTION, app_id, pc_id, action);
}

/* ---- life ---- */

int feed_new(const char *base_url, FeedWake wake, void *userdata, Feed **ret)
{
    static const ClientStreamOps ops = {.state = on_state, .message = on_message};
    CLEANUP(feed_freep) Feed *f = calloc(1, sizeof *f);

    if (!f)
        return -ENOMEM;
    pthread_mutex_init(&f->lock, NULL);
    pthread_cond_init(&f->room, NULL);
    pthread_cond_init(&f->work, NULL);
    f->wake = wake;
    f->userdata = userdata;
    f->base_url = strdup(base_url);
    if (!f->base_url)
        return -ENOMEM;
    int r = pthread_create(&f->worker, NULL, worker_main, f);
    if (r != 0)
        return -r;
    f->has_worker = true;
    r = client_stream_new(base_url, NULL, &ops, f, &f->stream);
    if (r < 0)
        return r;
    *ret = TAKE_PTR(f);
    return 0;
}

void feed_token_from(Feed *f, FeedToken token, void *userdata)
{
    pthread_mutex_lock(&f->lock);
    f->token = token;
    f->token_userdata = userdata;
    pthread_mutex_unlock(&f->lock);
}

Feed *feed_free(Feed *f)
{
    if (!f)
        return NULL;
    pthread_mutex_lock(&f->lock);
    f->stop = true;
    pthread_cond_broadcast(&f->room);
    pthread_cond_broadcast(&f->work);
    pthread_mutex_unlock(&f->lock);
    client_stream_free(f->stream);
    if (f->has_worker)
        pthread_join(f->worker, NULL);
    for (Change *c = f->first, *next; c; c = next) {
        next = c->next;
        change_free(c);
    }
    pthread_cond_destroy(&f->work);
    pthread_cond_destroy(&f->room);
    pthread_mutex_destroy(&f->lock);
    free(f->base_url);
    free(f);
    return NULL;
}
