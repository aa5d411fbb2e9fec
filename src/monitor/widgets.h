/* What the panels are built of: status shapes, badges, cards, tables, empty states, bars. No
 * knowledge of the model. */
#pragma once

#include "monitor/gui.h"
#include "monitor/theme.h"

#define ICON_OVERVIEW "\uf009"
#define ICON_PC       "\uf108"
#define ICON_SERVICES "\uf1b3"
#define ICON_LIVE     "\uf0e7"
#define ICON_ALERTS   "\uf0f3"
#define ICON_SEARCH   "\uf002"
#define ICON_FILTER   "\uf0b0"
#define ICON_CHECK    "\uf00c"
#define ICON_BACK     "\uf104"
#define ICON_FORWARD  "\uf105"
#define ICON_PLUG     "\uf1e6"
#define ICON_CLOCK    "\uf017"
#define ICON_COPY     "\uf0c5"
#define ICON_HELP     "\uf128"
#define ICON_COG      "\uf013"
#define ICON_PAUSE    "\uf04c"
#define ICON_PLAY     "\uf04b"
#define ICON_STOP     "\uf04d"
#define ICON_REPEAT   "\uf01e"
#define ICON_REFRESH  "\uf021"
#define ICON_HOME     "\uf015"

/* Shapes: disc with tick, ring with bar, triangle, open ring, square with cross, ring with question
 * mark, dash. */
void status_light(float x, float y, float radius, Status status);
void badge(Status status, const char *word); /* a pill with shape and word, in the line */
bool is_narrow(void); /* what is left is too narrow for cards beside each other */
void card_gap(void);  /* between two rows of cards: as wide as between columns */
float badge_width(const char *word);
void card_title(const char *title, const char *note); /* note NULL: none */
/* In the middle of what is left of the window. True: its button (action, NULL: none) was pressed.
 */
bool empty_state(const char *icon, const char *title, const char *hint, const char *action);
void key_value(const char *key, const char *value, float key_width);
void banner(const char *id, Status status, const char *title, const char *text);
bool filter_field(const char *id, const char *hint, char *text, size_t size, float width,
                  bool focus);

typedef struct TableColumn {
    const char *name; /* marked by N_(), translated when shown */
    float width;      /* logical pixels; 0 or less: the rest, by weight -width */
    bool descending;  /* a first click sorts the big ones first */
    int below;        /* hidden where the table is narrower than this, logical pixels */
} TableColumn;

typedef struct TableSort {
    int column;
    bool descending;
} TableSort;

typedef struct DataTable {
    const char *id;
    const TableColumn *columns;
    int n_columns;
    size_t n_rows;
    TableSort
        *sort; /* NULL: not sortable; else the order to begin with, and what the header says */
    bool stripes;
    bool focus;        /* the keyboard starts in the first row */
    float line_height; /* of one row's content; 0: a line of text */
    void *userdata;
    void (*cell)(void *userdata, size_t row, int column);
    /* The id of a row that can be clicked; NULL: rows are only looked at. */
    void (*row_id)(void *userdata, size_t row, char *ret, size_t size);
} DataTable;

/* Frozen header, only visible rows built, arrow keys walk the rows. Returns the row that was
 * clicked or entered, -1. */
ptrdiff_t data_table(const DataTable *t, GuiVec size);

/* Ratios as bars; a negative ratio is a gap. */
typedef double (*BarRatio)(void *userdata, size_t index);
void bars(GuiRect area, size_t n, BarRatio ratio, void *userdata, bool track);
Status ratio_status(double ratio);
