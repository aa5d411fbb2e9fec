/* The state of the world as this window knows it: rows, alerts, transitions, details, and how fresh
 * it all is.
 *
 * Belongs to the frame thread; it changes only by model_apply(). Rows are kept sorted by (pc_id,
 * app_id), so a cell of the grid is found by two indexes. Nothing grows past the maxima below. */
#pragma once

#include "basic/clock.h"
#include "monitor/change.h"

#define MODEL_PCS_MAX         4096
#define MODEL_SERVICES_MAX    65536
#define MODEL_TRANSITIONS_MAX 10000
#define MODEL_ALERTS_MAX      4096
#define MODEL_DETAILS_MAX     16
#define MODEL_NONE            SIZE_MAX

typedef struct ModelApp {
    char app_id[ID_MAX + 1];
    char title[TITLE_MAX + 1];
} ModelApp;

/* A row became another one; not called for rows that are seen for the first time. */
typedef void (*ModelCallback)(void *userdata, const ServiceRow *before, const ServiceRow *after);
typedef void (*ModelPcCallback)(void *userdata, const PcRow *before, const PcRow *after);

typedef struct Model {
    PcRow *pcs; /* by pc_id */
    size_t n_pcs;
    ModelApp *apps; /* by app_id */
    size_t n_apps;
    ServiceRow *services; /* by pc_id, app_id */
    size_t n_services;
    uint32_t *service_app; /* index into apps, per service */
    uint32_t *service_pc;
    uint32_t *pc_first;      /* n_pcs + 1: where a PC's services start */
    Transition *transitions; /* oldest first */
    size_t n_transitions;
    int64_t transitions_seen; /* how many came by the stream: the number of the newest one */
    int64_t newest_id;        /* ids only grow: a higher one was never seen before */
    Alert *alerts;
    size_t n_alerts;
    SilenceRow *silences; /* as of the last time they were asked for */
    size_t n_silences;
    Detail *details[MODEL_DETAILS_MAX]; /* most recently asked first */
    size_t n_details;

    uint64_t version; /* counts every applied change */
    ClientState state;
    char sentence[SENTENCE_MAX]; /* why it is lost */
    bool has_snapshot;
    bool has_history;
    bool actions; /* the daemon's flag */
    char daemon_version[32];
    uint64_t seq;
    int64_t last_message_ms;   /* our clock; 0: never */
    int64_t lost_ms;           /* our clock; 0 while live */
    int64_t offset_ms;         /* the daemon's clock minus ours; 0 below two seconds */
    char answer[SENTENCE_MAX]; /* of the last check or action */
    bool answer_failed;
    int64_t answer_ms;

    ModelCallback changed;
    ModelPcCallback pc_changed;
    void *userdata;
} Model;

int model_new(Model **ret);
Model *model_free(Model *m);
void model_watch(Model *m, ModelCallback changed, ModelPcCallback pc_changed, void *userdata);
/* Takes the change over. -ENOMEM: it was not, or only in part, applied; what is there stays whole.
 */
int model_apply(Model *m, Change *c);

size_t model_find_pc(const Model *m, const char *pc_id);   /* MODEL_NONE */
size_t model_find_app(const Model *m, const char *app_id); /* MODEL_NONE */
const ServiceRow *model_service(const Model *m, const char *app_id, const char *pc_id);
const ServiceRow *model_cell(const Model *m, size_t pc,
                             size_t app); /* NULL: that app is not expected there */
/* The detail of a pair, or NULL when it was never asked for. model_want_detail() marks it as
 * loading. */
const Detail *model_detail(const Model *m, const char *app_id, const char *pc_id);
int model_want_detail(Model *m, const char *app_id, const char *pc_id);
/* Live, and heard of within the last 12 s plus a grace of 2 s after a lost connection. */
bool model_is_stale(const Model *m, int64_t now_ms);
bool model_is_other_version(const Model *m); /* the daemon's release is not this program's */

static inline void model_freep(Model **m)
{
    *m = model_free(*m);
}
