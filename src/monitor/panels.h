/* The panels: each draws itself into what is left of the main region. One file per panel. */
#pragma once

#include "monitor/app.h"

typedef struct PanelInfo {
    const char *title;    /* N_() */
    const char *subtitle; /* N_() */
    const char *icon;
    void (*draw)(App *a);
} PanelInfo;

extern const PanelInfo panels[PLACE_MAX]; /* by PlaceKind */

void panel_overview(App *a);
void panel_pcs(App *a);
void panel_services(App *a);
void panel_live(App *a);
void panel_alerts(App *a);
void panel_pc(App *a);
void panel_app(App *a);

void shell_draw(App *a);   /* sidebar, top bar, the panel, popups */
void palette_draw(App *a); /* Ctrl+K */
void help_draw(App *a);    /* '?' */
void options_draw(App *a); /* the settings popup */

/* Shared by panels. */
void status_grid(App *a, GuiVec size);
float status_grid_height(
    App *a, float width); /* 0: too big for its natural height, give it what there is */
void transition_line(App *a, const Transition *t, const char *id); /* one row of "recent changes" */
void transition_badges(App *a, const TransitionRow *row);
void app_actions_row(App *a, const char *app_id, const char *pc_id);
