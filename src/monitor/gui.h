/* The C face of Dear ImGui 1.86 (Debian's libimgui-dev), implemented by gui.cpp, the project's only
 * C++ file.
 *
 * Nothing of ImGui's own types passes through here. The face is narrow on purpose: what a panel
 * needs to lay out, write, click and draw, and what the platform needs to feed input and show the
 * result. It keeps a *record* of what a frame showed (item ids, texts, rectangles); the scripted
 * tests read a frame by it.
 *
 * Every call belongs to the frame thread. Ids are stable, language-free words ("nav/live",
 * "cell/PC/APP"). */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct GuiVec {
    float x, y;
} GuiVec;

typedef struct GuiRect {
    float x0, y0, x1, y1;
} GuiRect;

typedef uint32_t GuiColor; /* 0xAABBGGRR */

static inline GuiVec gui_vec(float x, float y)
{
    GuiVec v = {x, y};
    return v;
}

/* rgb as 0xRRGGBB */
static inline GuiColor gui_rgba(uint32_t rgb, uint32_t alpha)
{
    return alpha << 24 | (rgb & 0xFFU) << 16 | (rgb & 0xFF00U) | (rgb >> 16 & 0xFFU);
}

static inline GuiColor gui_rgb(uint32_t rgb)
{
    return gui_rgba(rgb, 0xFF);
}

static inline GuiColor gui_alpha(GuiColor c, uint32_t alpha)
{
    return (c & 0xFFFFFFU) | alpha << 24;
}

typedef enum GuiFont {
    GUI_FONT_BODY,
    GUI_FONT_SMALL,
    GUI_FONT_BOLD,
    GUI_FONT_TITLE,
    GUI_FONT_HUGE,
    GUI_FONT_MONO,
    GUI_FONT_ICON, /* one big icon */
    GUI_FONT_MAX
} GuiFont;

typedef enum GuiKey {
    GUI_KEY_TAB,
    GUI_KEY_LEFT,
    GUI_KEY_RIGHT,
    GUI_KEY_UP,
    GUI_KEY_DOWN,
    GUI_KEY_ENTER,
    GUI_KEY_ESCAPE,
    GUI_KEY_BACKSPACE,
    GUI_KEY_SPACE,
    GUI_KEY_HOME,
    GUI_KEY_END,
    GUI_KEY_PAGE_UP,
    GUI_KEY_PAGE_DOWN,
    GUI_KEY_DELETE,
    GUI_KEY_MAX
} GuiKey;

/* The colours that ImGui's own widgets take; see theme.c. */
typedef struct GuiStyle {
    bool dark;
    uint32_t text, faint, background, card, popup, line, line_soft, field, hover, active, accent;
} GuiStyle;

/* Life. Fonts are looked for in Debian's places; a missing file falls back to DejaVu, then to the
 * built-in font. */
void gui_init(float scale, const GuiStyle *style);
void gui_shutdown(void);
void gui_restyle(
    float scale,
    const GuiStyle *style);  /* between frames; the platform renews the font texture after it */
float gui_px(float logical); /* logical pixels to device pixels */
void gui_frame_begin(void);
void gui_frame_end(void);
uint64_t gui_frame_hash(void); /* of the whole picture: the same hash needs no present */

/* Input without a window system; the SDL backend feeds the rest. */
void gui_headless_init(float width, float height);
void gui_input_mouse(float x, float y);
void gui_input_button(int button, bool down);
void gui_input_wheel(float dy);
void gui_input_key(GuiKey key, bool down);
void gui_input_text(const char *utf8);
void gui_input_chord(
    char letter);         /* Ctrl and a letter, by symbol and not by place on the keyboard */
bool gui_key(GuiKey key); /* pressed since the last frame */
bool gui_chord(char letter);
uint32_t gui_typed(
    void); /* the first character typed while no text field has the keyboard; 0: none */
bool gui_wants_text(void); /* a text field has the keyboard */

/* Windows and layout. Coordinates are screen pixels. */
GuiVec gui_display(void);
void gui_shell_begin(GuiColor background);
void gui_shell_end(void);
void gui_region_begin(const char *id, GuiVec size, GuiColor background,
                      GuiVec padding); /* a fixed part of the shell */
void gui_region_end(void);
void gui_child_begin(const char *id, GuiVec size, bool horizontal_scroll);
void gui_child_end(void);
void gui_card_begin(const char *id, GuiVec size);
void gui_card_end(void);
void gui_push_index(int index);
void gui_pop_id(void);
GuiVec gui_cursor(void);
void gui_set_cursor(GuiVec position);
GuiVec gui_avail(void);
void gui_same_line(float spacing);
void gui_align_text(void); /* the next text stands beside a button or a field: on its line */
void gui_dummy(GuiVec size);
void gui_space(float height);
GuiVec gui_scroll(void);
void gui_scroll_to_bottom(void);
float gui_line_height(void);
void gui_nav_restart(void); /* a new panel: keyboard focus goes to its default item */
void gui_nav_default(void); /* the last item is where the keyboard starts */

/* Popups that dim what is behind. */
void gui_popup_open(const char *id);
bool gui_popup_begin(const char *id, GuiVec position, GuiVec size);
void gui_popup_close(void);
void gui_popup_end(void);

/* Text */
void gui_font_push(GuiFont font);
void gui_font_pop(void);
void gui_text(GuiColor color, const char *text);
void gui_textf(GuiColor color, const char *format, ...) __attribute__((format(printf, 2, 3)));
void gui_text_wrap(GuiColor color, const char *text);
void gui_text_fit(
    GuiColor color,
    const char *text); /* one line; cut with an ellipsis and then shown in a tooltip */
GuiVec gui_text_size(GuiFont font, const char *text);

/* Widgets. The id is what the record and the keyboard know; the label is what a person reads. */
bool gui_button(const char *id, const char *label, GuiVec size);
bool gui_button_ghost(const char *id, const char *label, GuiVec size);
void gui_disabled_begin(bool disabled);
void gui_disabled_end(void);
bool gui_hit(const char *id, const char *text, GuiVec size,
             bool *ret_hovered); /* an area to click, drawn by the caller */
bool gui_checkbox(const char *id, const char *label, bool *value);
/* A one-line text field. True when the text changed; *ret_entered (may be NULL) when Enter was
 * pressed. */
bool gui_input(const char *id, const char *hint, char *text, size_t size, bool *ret_entered);
void gui_focus_next(void); /* the next text field takes the keyboard */
void gui_width(float width);
void gui_tooltip_begin(void);
void gui_tooltip_end(void);
bool gui_item_hovered(void); /* also when it is disabled */
bool gui_item_focused(void);
GuiRect gui_item_rect(void);
GuiVec gui_mouse(void);
void gui_clipboard(const char *text);
const char *gui_clipboard_text(void);

/* Tables, at most 64 columns. */
typedef enum GuiTableFlags {
    GUI_TABLE_SORT = 1,
    GUI_TABLE_SCROLL = 2,
    GUI_TABLE_STRIPES = 4,
} GuiTableFlags;

bool gui_table_begin(const char *id, int columns, int flags, GuiVec size);
typedef enum GuiColumnFlags {
    GUI_COLUMN_STRETCH = 1,
    GUI_COLUMN_SORT_FIRST = 2, /* the order to begin with */
    GUI_COLUMN_DESCENDING = 4,
    GUI_COLUMN_HIDDEN = 8,
} GuiColumnFlags;

void gui_table_column(const char *name, float width, int flags);
void gui_table_header(void); /* frozen */
bool gui_table_sort(int *ret_column,
                    bool *ret_descending); /* the order the header asks for; false: none */
void gui_table_row(float height);
bool gui_table_row_hit(const char *id, float height,
                       bool selected); /* the whole row, called in its first cell */
bool gui_table_cell(void);
void gui_table_end(void);

/* Only what can be seen of n equal rows: for (c = gui_clip_begin(n, h); gui_clip_step(&c);) for (i
 * = c.first; ...). */
typedef struct GuiClip {
    void *clipper;
    int first, last;
} GuiClip;

GuiClip gui_clip_begin(int rows, float row_height);
bool gui_clip_step(GuiClip *clip);

/* Drawing into the present window. */
void draw_rect(float x0, float y0, float x1, float y1, GuiColor color, float rounding);
void draw_frame(float x0, float y0, float x1, float y1, GuiColor color, float rounding,
                float width);
void draw_line(float x0, float y0, float x1, float y1, GuiColor color, float width);
void draw_circle(float x, float y, float radius, GuiColor color);
void draw_ring(float x, float y, float radius, GuiColor color, float width);
void draw_arc(float x, float y, float radius, float from, float to, GuiColor color, float width);
void draw_triangle(GuiVec a, GuiVec b, GuiVec c, GuiColor color);
void draw_polyline(const GuiVec *points, int count, GuiColor color, float width);
void draw_text(GuiFont font, float x, float y, GuiColor color, const char *text);
void draw_text_fit(GuiFont font, float x, float y, float width, GuiColor color,
                   const char *text); /* ellipsis */
void draw_text_rotated(GuiFont font, float x, float y, float angle, GuiColor color,
                       const char *text);
void draw_clip(float x0, float y0, float x1, float y1);
void draw_unclip(void);

/* The record of the last finished frame; off unless switched on. */
typedef struct GuiRecord {
    char id[160];
    char text[320];
    GuiRect rect;
    bool visible;
} GuiRecord;

void gui_record_enable(bool on);
bool gui_record_is_on(void);
void gui_mark(const char *id, const char *text, GuiRect rect); /* a drawn thing says where it is */
int gui_record_count(void);
const GuiRecord *gui_record_at(int index);
const GuiRecord *gui_record_find(const char *id);
bool gui_record_has_text(const char *needle);

/* Backends, passed through so that platform.c stays C. */
bool gui_gl_init(void);
void gui_gl_frame(void);
void gui_gl_draw(void);
void gui_gl_renew_fonts(void);
void gui_gl_shutdown(void);
bool gui_sdl_init(void *sdl_window, void *gl_context);
void gui_sdl_event(const void *sdl_event);
void gui_sdl_frame(void);
void gui_sdl_shutdown(void);
bool gui_soft_init(void *sdl_renderer); /* SDL_Renderer: no OpenGL needed */
void gui_soft_draw(void);
bool gui_soft_renew_fonts(void);
void gui_soft_shutdown(void);

#ifdef __cplusplus
}
#endif
