/* The last journal lines of a unit, or of one run of it, as JSON for the API.
 *
 * `journalctl -o json` is asked through the PC's transport, so local and remote are one code. Its
 * output is hostile: bounded, parsed line by line, cleaned. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "api/transport.h"
#include "basic/buffer.h"

#define JOURNAL_LINES_MAX 1000
#define JOURNAL_BYTES_MAX (1U << 20)

typedef struct JournalQuestion {
    UnitScope scope;
    const char *unit;
    const uint8_t *invocation; /* 16 bytes: only this run; NULL: any */
    uint32_t lines;            /* 1-JOURNAL_LINES_MAX */
} JournalQuestion;

/* The stdin of COMMAND_JOURNAL: "scope\nunit\ninvocation hex or -\nlines\n". */
int journal_input(const JournalQuestion *q, char *ret, size_t size);

/* journalctl's argv for such an input, checked anew: it may have come from anywhere. The pointers
 * lead into the struct itself. */
typedef struct JournalCommand {
    const char *argv[20];
    char text[UNIT_MAX + 1];
    char lines[16];
    char matches[3][64];
} JournalCommand;

int journal_command(const char *input, JournalCommand *ret); /* -EINVAL */

/* Turns journalctl's output into a JSON array [{"ts":ms,"priority":6,"message":"..."}, ...] (oldest
 * first) in out. Lines that are no JSON objects are skipped. Returns the number of lines. */
size_t journal_to_json(const char *output, size_t len, Buffer *out);
