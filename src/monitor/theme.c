/* Two tables of colours and the switch between them.
 *
 * The status hues are Okabe and Ito's, lifted on the dark ground and deepened on the light one
 * until small text in them stays readable (contrast 4.5:1). The stale look is a property of the
 * theme, so that no widget can forget it. */
#include "monitor/theme.h"

typedef struct Palette {
    GuiStyle style;
    uint32_t dim, side, ink, veil, veil_alpha, tint;
    uint32_t status[STATUS_MAX];
} Palette;

static const Palette palettes[] = {
    {
        .style = {.dark = false,
                  .text = 0x18202E,
                  .faint = 0x6B7689,
                  .background = 0xF3F5F9,
                  .card = 0xFFFFFF,
                  .popup = 0xFFFFFF,
                  .line = 0xD8DEE8,
                  .line_soft = 0xE8ECF2,
                  .field = 0xF6F8FB,
                  .hover = 0xE9EEF6,
                  .active = 0xD5DEEC,
                  .accent = 0x2463C9},
        .dim = 0x48546A,
        .side = 0xE9EDF4,
        .ink = 0xFFFFFF,
        .veil = 0x000000,
        .veil_alpha = 9,
        .tint = 20,
        .status = {[STATUS_OK] = 0x007A5A,
                   [STATUS_OFF] = 0x556176,
                   [STATUS_WARN] = 0x946300,
                   [STATUS_BUSY] = 0x0067A8,
                   [STATUS_DOWN] = 0xC23B0A,
                   [STATUS_UNKNOWN] = 0x5C687C,
                   [STATUS_ABSENT] = 0xA3ADBD},
    },
    {
        .style = {.dark = true,
                  .text = 0xE6EAF2,
                  .faint = 0x7C879B,
                  .background = 0x0E1117,
                  .card = 0x151A23,
                  .popup = 0x1A202B,
                  .line = 0x262D3A,
                  .line_soft = 0x1F2530,
                  .field = 0x0F131A,
                  .hover = 0x232B38,
                  .active = 0x2D3748,
                  .accent = 0x6EA8FF},
        .dim = 0x9BA5B8,
        .side = 0x0B0E13,
        .ink = 0x0B0E13,
        .veil = 0xFFFFFF,
        .veil_alpha = 11,
        .tint = 24,
        .status = {[STATUS_OK] = 0x35C6A3,
                   [STATUS_OFF] = 0x7F8CA3,
                   [STATUS_WARN] = 0xF2B632,
                   [STATUS_BUSY] = 0x5DB7FF,
                   [STATUS_DOWN] = 0xFF6F4D,
                   [STATUS_UNKNOWN] = 0x98A2B5,
                   [STATUS_ABSENT] = 0x4A5468},
    },
};

static Theme current;
static bool is_stale;
const Theme *theme = &current;

GuiStyle theme_select(bool dark)
{
    const Palette *p = &palettes[dark];
    const GuiStyle *s = &p->style;

    current = (Theme){
        .text = gui_rgb(s->text),
        .dim = gui_rgb(p->dim),
        .faint = gui_rgb(s->faint),
        .line = gui_rgb(s->line),
        .line_soft = gui_rgb(s->line_soft),
        .card = gui_rgb(s->card),
        .background = gui_rgb(s->background),
        .side = gui_rgb(p->side),
        .field = gui_rgb(s->field),
        .hover = gui_rgb(s->hover),
        .active = gui_rgb(s->active),
        .accent = gui_rgb(s->accent),
        .ink = gui_rgb(p->ink),
        .veil = gui_rgba(p->veil, p->veil_alpha),
        .tint = p->tint,
    };
    for (int i = 0; i < STATUS_MAX; i++)
        current.status[i] = gui_rgb(p->status[i]);
    return *s;
}

void theme_set_stale(bool stale)
{
    is_stale = stale;
}

GuiColor theme_status(Status status)
{
    if (is_stale && status != STATUS_ABSENT)
        return current.faint;
    return current.status[status];
}
