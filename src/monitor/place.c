/* Text and back. Ids are checked here, so a place can be trusted wherever it came from. */
#include "monitor/place.h"

#include <stdio.h>
#include <string.h>

#include "basic/macro.h"
#include "basic/text.h"
#include "common/name.h"

static const char *const names[] = {"overview", "pcs", "services", "live", "alerts"};

static bool parse_app(const char *text, Place *p)
{
    size_t len = (size_t)(strchrnul(text, '/') - text);

    if (len >= sizeof p->app_id)
        return false;
    memcpy(p->app_id, text, len);
    p->app_id[len] = '\0';
    p->kind = PLACE_APP;
    if (text[len] == '/' && strlen(text + len + 1) < sizeof p->pc_id)
        text_copy(p->pc_id, sizeof p->pc_id, text + len + 1);
    return name_is_id(p->app_id) && (text[len] == '\0' || name_is_id(p->pc_id));
}

bool place_parse(const char *text, Place *ret)
{
    Place p = {0};

    for (size_t i = 0; i < ELEMENTS(names); i++)
        if (strcmp(text, names[i]) == 0) {
            p.kind = (PlaceKind)i;
            *ret = p;
            return true;
        }
    if (strncmp(text, "app/", 4) == 0 && parse_app(text + 4, &p)) {
        *ret = p;
        return true;
    }
    if (strncmp(text, "pc/", 3) == 0 && strlen(text + 3) < sizeof p.pc_id && name_is_id(text + 3)) {
        p.kind = PLACE_PC;
        text_copy(p.pc_id, sizeof p.pc_id, text + 3);
        *ret = p;
        return true;
    }
    return false;
}

void place_write(const Place *p, char *ret, size_t size)
{
    if (p->kind == PLACE_PC)
        snprintf(ret, size, "pc/%s", p->pc_id);
    else if (p->kind == PLACE_APP)
        snprintf(ret, size, "app/%s%s%s", p->app_id, p->pc_id[0] ? "/" : "", p->pc_id);
    else
        snprintf(ret, size, "%s", names[p->kind]);
}

bool place_equal(const Place *a, const Place *b)
{
    return a->kind == b->kind && strcmp(a->app_id, b->app_id) == 0 &&
           strcmp(a->pc_id, b->pc_id) == 0;
}
