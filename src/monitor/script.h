/* `--script FILE`: the window driven without a display, by item ids and texts; `--screenshot FILE`:
 * one picture.
 *
 * One command per line, '#' starts a comment:
 *   click ID, hover ID, type TEXT, key NAME, key ctrl+LETTER, wheel N
 *   expect ID, expect-no ID, expect-text TEXT, expect-no-text TEXT, title TEXT
 *   expect-item ID TEXT: that item says exactly that
 *   wait ID, wait-item ID TEXT, wait-no ID, wait-text TEXT, wait-no-text TEXT, wait-title TEXT: at
 * most 20 s go PLACE, theme dark|light, lang en|es, scale N shot FILE: a picture clipboard TEXT:
 * the clipboard contains it frames N, sleep MS: go on building frames idle MS: no picture is
 * presented for so long bench N: prints the mean CPU time of building a frame, over N say TEXT:
 * prints it, and how many lines have failed so far
 *
 * FILE "-": standard input, line by line as it comes. */
#pragma once

#include "monitor/app.h"

int script_run(
    App *a, const char *file); /* 0: all as expected; 1: not; each failure is one line on stderr */
int screenshot_take(App *a, const char *file, int timeout_ms);
