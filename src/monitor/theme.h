/* Colours of the desktop, by role. Two themes; both keep hue, lightness and shape of a status apart
 * for every common kind of colour blindness (Okabe-Ito hues; see widgets.c for the shapes). */
#pragma once

#include "monitor/gui.h"
#include "monitor/view.h"

typedef struct Theme {
    GuiColor text, dim, faint, line, line_soft, card, background, side, field, hover, active,
        accent;
    GuiColor ink;  /* on a filled status shape */
    GuiColor veil; /* a light touch over a surface: hover, absent cells; carries its own alpha */
    uint32_t tint; /* alpha of a status hue behind a healthy cell */
    GuiColor status[STATUS_MAX];
} Theme;

extern const Theme *theme; /* of this frame */

GuiStyle theme_select(bool dark); /* switches and returns what ImGui's own widgets take */
/* While what is shown is old, every status loses its hue: nothing stale looks fresh. */
void theme_set_stale(bool stale);
GuiColor theme_status(Status status);
