/* What systemd says of a unit on the bus, turned into UnitFacts. The bytes are hostile until they
 * are in the facts: every type is checked, every text is bounded and cleaned, every word outside
 * the known ones becomes "unknown". */
#pragma once

#include <stddef.h>
#include <stdint.h>
#include <systemd/sd-bus.h>

#include "common/unit.h"

#define UNIT_PROPS_MAX \
    2000 /* properties in one message; systemd 252 sends about 330 of a service */
#define UNIT_CONTROL_GROUP_MAX 1024
#define UNIT_PATH_MAX \
    1024 /* an object path: 255 bytes of name, each at most "_xx", and the prefix */

typedef enum UnitSeen {
    SEEN_LOAD = 1 << 0,
    SEEN_ACTIVE = 1 << 1,
    SEEN_CONTROL_GROUP = 1 << 2,
    SEEN_TRIGGERS = 1 << 3,
} UnitSeen;

/* What is no fact of its own but leads to one. */
typedef struct UnitExtras {
    uint32_t seen; /* UnitSeen bits */
    char control_group[UNIT_CONTROL_GROUP_MAX];
    char triggers[UNIT_MAX + 1]; /* of a timer: the unit it starts */
} UnitExtras;

/* Reads an a{sv} at the message's position and merges the properties it knows; others are skipped.
 * facts and extras are undefined after an error: work on a copy. max: bytes of the dictionary.
 * -EBADMSG: a wrong type; -EFBIG. */
int unit_props_merge(sd_bus_message *m, size_t max, UnitFacts *facts, UnitExtras *extras);

/* The variant that Properties.Get returns for InvocationID. */
int unit_props_invocation(sd_bus_message *m, uint8_t ret[16]);

/* One row of ListUnitsByNames. */
typedef struct UnitRow {
    LoadState load;
    ActiveState active;
    char sub[20];
    const char *path; /* inside the message; starts with the units' prefix */
} UnitRow;

/* 1: a row; 0: the array's end; -EBADMSG. */
int unit_row_read(sd_bus_message *m, UnitRow *ret);
