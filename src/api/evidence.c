/* What a dead run left behind.
 *
 * Jobs wait DELAY_US, then ask the journal of their PC, at most RUNNING_MAX at a time, so that a
 * crash loop on one PC costs a bounded number of journal reads. A job whose PC cannot be asked ends
 * without an update: the transition keeps what it had. */
#include "api/evidence.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "api/journal.h"
#include "basic/macro.h"

#define DELAY_US          (200U * 1000U)
#define WAIT_MS           3000U
#define LINES             20U
#define RUNNING_MAX       4U
#define EVIDENCE_JSON_MAX (64U << 10)

typedef struct Job {
    Evidence *evidence;
    uint32_t handle;
    TransitionRow row;
    Change change;
    uint64_t due_us;
    bool running;
    struct Job *next;
} Job;

struct Evidence {
    Fleet *fleet;
    Probe *probe;
    EvidenceCallback callback;
    void *userdata;
    Job *jobs; /* oldest first */
    size_t n_jobs, n_running;
};

int evidence_new(Fleet *fleet, Probe *probe, EvidenceCallback callback, void *userdata,
                 Evidence **ret)
{
    Evidence *e = calloc(1, sizeof *e);

    if (!e)
        return -ENOMEM;
    *e = (Evidence){.fleet = fleet, .probe = probe, .callback = callback, .userdata = userdata};
    *ret = e;
    return 0;
}

Evidence *evidence_free(Evidence *e)
{
    while (e && e->jobs) {
        Job *j = e->jobs;
        e->jobs = j->next;
        free(j);
    }
    free(e);
    return NULL;
}

static void write_members(Buffer *b, const Change *c)
{
    static const uint8_t none[16];
    char hex[33];

    json_string(b, "result", c->result[0] ? c->result : NULL);
    if (c->exec_code) {
        json_int(b, "exec_code", c->exec_code);
        json_int(b, "exec_status", c->exec_status);
    }
    json_int(b, "n_restarts", c->n_restarts);
    if (memcmp(c->invocation, none, 16) != 0) {
        for (size_t i = 0; i < 16; i++)
            snprintf(hex + i * 2, 3, "%02x", c->invocation[i]);
        json_string(b, "invocation", hex);
    }
}

void evidence_write(Buffer *b, const Change *change)
{
    json_open_object(b, NULL);
    write_members(b, change);
    json_close_object(b);
}

void evidence_collect(Evidence *e, const Service *s, const TransitionRow *row, const Change *change,
                      Now now)
{
    Job *j = e->n_jobs < EVIDENCE_MAX ? calloc(1, sizeof *j) : NULL;
    Job **last = &e->jobs;

    if (!j)
        return;
    *j = (Job){.evidence = e,
               .handle = s->handle,
               .row = *row,
               .change = *change,
               .due_us = now.mono_us + DELAY_US};
    j->row.evidence = NULL;
    j->row.is_update = true;
    while (*last)
        last = &(*last)->next;
    *last = j;
    e->n_jobs++;
}

static void job_end(Job *j)
{
    Evidence *e = j->evidence;

    for (Job **at = &e->jobs; *at; at = &(*at)->next) {
        if (*at == j) {
            *at = j->next;
            break;
        }
    }
    e->n_jobs--;
    e->n_running -= j->running;
    free(j);
}

static void on_journal(void *userdata, int error, const char *output, size_t len)
{
    Job *j = userdata;
    Buffer lines = BUFFER_INIT(EVIDENCE_JSON_MAX), b = BUFFER_INIT(EVIDENCE_JSON_MAX * 2);

    if (error >= 0 && journal_to_json(output, len, &lines) > 0 && !buffer_error(&lines)) {
        json_open_object(&b, NULL);
        write_members(&b, &j->change);
        json_raw(&b, "journal", lines.data, lines.len);
        json_close_object(&b);
        if (!buffer_error(&b)) {
            j->row.evidence = buffer_cstr(&b);
            j->evidence->callback(j->evidence->userdata, &j->row, j->handle);
        }
    }
    buffer_done(&lines);
    buffer_done(&b);
    job_end(j);
}

static void job_start(Job *j)
{
    Service *s = fleet_by_handle(j->evidence->fleet, j->handle);
    JournalQuestion q = {.invocation = j->change.invocation, .lines = LINES};
    char input[512];

    j->running = true;
    j->evidence->n_running++;
    if (s) {
        q.scope = s->want.scope;
        q.unit = s->want.unit;
    }
    if (!s || !q.unit || journal_input(&q, input, sizeof input) < 0 ||
        probe_run_command(j->evidence->probe, s->pc, COMMAND_JOURNAL, input, WAIT_MS, on_journal,
                          j) < 0)
        job_end(j);
}

static Job *next_job(const Evidence *e)
{
    if (e->n_running >= RUNNING_MAX)
        return NULL;
    for (Job *j = e->jobs; j; j = j->next)
        if (!j->running)
            return j;
    return NULL;
}

uint64_t evidence_next_us(const Evidence *e)
{
    const Job *j = next_job(e);

    return j ? j->due_us : UINT64_MAX;
}

void evidence_tick(Evidence *e, Now now)
{
    Job *j;

    while ((j = next_job(e)) && j->due_us <= now.mono_us)
        job_start(j);
}
