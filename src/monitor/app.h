/* The window's life: one App, one frame after the other.
 *
 * A frame is a list of named steps (app_frame in app.c). Panels get the App, read its model and
 * views, and ask it to go somewhere or to fetch something; they keep nothing of their own but what
 * a person typed or chose. */
#pragma once

#include "monitor/feed.h"
#include "monitor/notify-desktop.h"
#include "monitor/place.h"
#include "monitor/platform.h"
#include "monitor/settings.h"
#include "monitor/tunnel.h"
#include "monitor/view.h"
#include "monitor/widgets.h"

#define PLACES_BACK_MAX 32
#define FILTER_MAX      64

/* An ordered list of indexes, made again only when its key changes. */
typedef struct ListCache {
    uint64_t key;
    uint32_t *rows;
    size_t n, cap;
} ListCache;

typedef struct AppOptions {
    const char *url;      /* NULL: the local daemon */
    const char *ssh_host; /* NULL: none */
    const char *record;   /* file that gets the rectangles of each frame's items; for tests of the
                             real window */
    bool headless, software, no_notify;
    bool remember;     /* read and write the settings file */
    float scale;       /* 0: settings, then display */
    int dark;          /* -1: settings */
    int width, height; /* 0: settings */
    const char *language;
    const char *panel;
    int64_t now_ms; /* not 0: the clock stands still there, for pictures that can be compared */
} AppOptions;

typedef struct App {
    AppOptions options;
    Settings settings;
    char settings_file[512];
    Platform *platform;
    Tunnel *tunnel;
    Feed *feed;
    Model *model;
    NotifyDesktop *notify;
    Notices notices;
    char url[512];

    int64_t now_ms; /* of this frame, on the daemon's clock */
    int64_t own_ms; /* of this frame, on ours */
    bool stale;
    Counts counts;
    uint64_t counts_version;
    uint64_t asked_version; /* details of the place were asked for at this model version */
    int64_t detail_asked_ms;

    Place place, back[PLACES_BACK_MAX];
    size_t n_back;
    bool focus_panel;  /* the panel was entered in this frame: the keyboard starts in it */
    bool focus_filter; /* '/' was pressed */
    bool palette_wanted, help_wanted, settings_wanted, popup_open;
    char palette_text[FILTER_MAX];
    int palette_row;
    bool palette_fresh;

    /* what a person chose in the panels */
    char services_filter[FILTER_MAX], live_filter[FILTER_MAX], journal_filter[FILTER_MAX];
    TableSort services_sort, pcs_sort, pc_sort;
    bool services_by_pc;
    bool live_paused;
    int64_t live_until; /* the model's transitions_seen when it was paused */
    bool alerts_closed, show_facts;
    char handled[64]; /* id of the alert whose popup is open; "": none */
    bool handle_wanted, handle_fresh;
    char handle_comment[COMMENT_MAX + 1];
    int64_t silences_asked_ms; /* own clock; 0: ask again */
    int64_t evidence_id;       /* of the transition whose evidence is open, 0: none */
    ListCache attention, services, pc_rows, live, alerts, app_transitions;

    Settings shown; /* the look that the present fonts, colours and texts have */
    uint64_t last_hash;
    uint64_t presents, frames;
    int frames_due; /* ImGui needs some frames to come to rest after an input */
    bool exposed, quit;
    int64_t last_present_ms;
} App;

int app_new(const AppOptions *options, App **ret, char *error, size_t size);
App *app_free(App *a);
int app_run(App *a);                 /* until the window is closed */
void app_frame(App *a, bool always); /* one frame; always: present it even when nothing changed */
void app_settle(App *a, int frames); /* frames without waiting, for scripts */
bool app_is_ready(App *a);           /* the snapshot is here and nothing is being fetched */
void app_wait(App *a, int timeout_ms);

/* For panels */
void app_go(App *a, const Place *place); /* remembers where we were */
void app_go_panel(App *a, PlaceKind kind);
void app_go_app(App *a, const char *app_id, const char *pc_id);
void app_go_pc(App *a, const char *pc_id);
void app_go_back(App *a);
void app_check(App *a, const char *app_id, const char *pc_id);
void app_action(App *a, const char *app_id, const char *pc_id, const char *action);
void app_ack(App *a, const char *alert_id, const char *comment);
void app_silence(App *a, const char *kind, const Pair *pair, uint32_t for_s, const char *comment);
void app_unsilence(App *a, int64_t id);
void app_want_silences(App *a); /* asks for them when they are old */
const Detail *app_detail(App *a, const char *app_id,
                         const char *pc_id);  /* asks for it when it is old */
const char *app_actions_reason(const App *a); /* why actions are off; NULL: they are on */
void live_pause(App *a, bool paused);
/* Room for n indexes when the key differs from the last one: true, and the caller fills and sets n.
 */
bool list_renew(ListCache *list, uint64_t key, size_t n);
uint64_t list_key(uint64_t seed, const char *text);

static inline void app_freep(App **a)
{
    if (*a)
        *a = app_free(*a);
}
