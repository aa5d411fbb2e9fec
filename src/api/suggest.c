/* Nearest known word by edit distance (Levenshtein, and two swapped letters count as one), for
 * error messages.
 *
 * A suggestion that is far off is worse than none, so a candidate counts only if at most a third of
 * its letters (and never more than three) have to change. Words longer than WORD_MAX are never
 * suggested for: the input is hostile and the cost is quadratic. */
#include "api/suggest.h"

#include <stdio.h>
#include <string.h>

#include "basic/i18n.h"
#include "basic/macro.h"

#define WORD_MAX 48

static size_t edit_distance(const char *a, size_t n_a, const char *b, size_t n_b)
{
    size_t rows[3][WORD_MAX + 1]; /* this row, the one above, the one above that */

    for (size_t j = 0; j <= n_b; j++)
        rows[0][j] = j;
    for (size_t i = 1; i <= n_a; i++) {
        size_t *row = rows[i % 3], *above = rows[(i + 2) % 3], *above2 = rows[(i + 1) % 3];
        row[0] = i;
        for (size_t j = 1; j <= n_b; j++) {
            row[j] = above[j - 1] + (a[i - 1] != b[j - 1]);
            row[j] = MIN(row[j], MIN(above[j], row[j - 1]) + 1);
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
                row[j] = MIN(row[j], above2[j - 2] + 1);
        }
    }
    return rows[n_a % 3][n_b];
}

void suggest_try(Suggestion *s, const char *candidate)
{
    size_t n_word = strnlen(s->word, WORD_MAX + 1);
    size_t n_candidate = strnlen(candidate, WORD_MAX + 1);

    if (n_word > WORD_MAX || n_candidate > WORD_MAX)
        return;
    size_t distance = edit_distance(s->word, n_word, candidate, n_candidate);
    if (distance > MIN((n_candidate + 1) / 3, 3) || (s->best && distance >= s->distance))
        return;
    s->best = candidate;
    s->distance = distance;
}

void suggest_append(const Suggestion *s, char *dst, size_t size)
{
    size_t len = strnlen(dst, size);

    if (s->best && len < size)
        snprintf(dst + len, size - len, _(", did you mean %s?"), s->best);
}
