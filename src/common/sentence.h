/* The daemon's sentences in the language of the person who reads them. */
#pragma once

#include "common/protocol.h"

/* What the daemon said, in the language of i18n_init(); as it came where that is English or nobody
 * knows the sentence. Returns ret. */
const char *sentence_translate(char ret[static SENTENCE_MAX], const char *sentence);
