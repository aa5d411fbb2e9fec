/* Where the person is: a panel, and for two of them which PC or which app. Its text form is what
 * --panel takes and what the settings remember: overview, pcs, services, live, alerts, pc/PC,
 * app/APP, app/APP/PC. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "common/unit.h"

typedef enum PlaceKind {
    PLACE_OVERVIEW,
    PLACE_PCS,
    PLACE_SERVICES,
    PLACE_LIVE,
    PLACE_ALERTS,
    PLACE_PC,
    PLACE_APP,
    PLACE_MAX
} PlaceKind;

typedef struct Place {
    PlaceKind kind;
    char app_id[ID_MAX + 1]; /* of PLACE_APP */
    char pc_id[ID_MAX + 1];  /* of PLACE_PC; of PLACE_APP: whose history is shown, "": the first */
} Place;

bool place_parse(const char *text, Place *ret);
void place_write(const Place *p, char *ret, size_t size);
bool place_equal(const Place *a, const Place *b);
