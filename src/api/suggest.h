/* "Did you mean ...?": the known word that is nearest to what a person wrote. */
#pragma once

#include <stddef.h>

typedef struct Suggestion {
    const char *word; /* as written */
    const char *best; /* NULL: nothing is near enough */
    size_t distance;  /* of best */
} Suggestion;

#define SUGGESTION_INIT(word_) ((Suggestion){.word = (word_)})

void suggest_try(Suggestion *s, const char *candidate); /* candidate must outlive s */

/* Appends to dst (size bytes, a string) ", did you mean X?" if there is something near. */
void suggest_append(const Suggestion *s, char *dst, size_t size);
