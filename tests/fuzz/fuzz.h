/* What a fuzz target is: one function that takes any bytes, and aborts when the code under test
 * breaks a promise.
 *
 * Linked with replay.c it runs a corpus in every test run; linked with libFuzzer (see meson.build)
 * it looks for more. */
#pragma once

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

/* A promise of the code under test. Not assert(): it holds in every build. */
#define PROMISE(condition)                                                          \
    do {                                                                            \
        if (!(condition)) {                                                         \
            fprintf(stderr, "%s:%d: broken: %s\n", __FILE__, __LINE__, #condition); \
            abort();                                                                \
        }                                                                           \
    } while (0)
