/* The window, or none: SDL2 with OpenGL 3.3, SDL2 without OpenGL, or EGL without any display
 * (screenshots, scripts).
 *
 * One Platform per process. Everything but platform_wake() belongs to the frame thread. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "monitor/gui.h"

typedef struct Platform Platform;

typedef struct PlatformOptions {
    int width, height; /* logical pixels */
    float scale;       /* 0: what the display says */
    bool headless;
    bool software; /* do not try OpenGL */
} PlatformOptions;

typedef struct PlatformEvents {
    bool input;   /* something happened that may change the picture */
    bool edge;    /* a key or button went down or up: one frame per edge */
    bool exposed; /* the picture on the screen is damaged */
    bool quit;
} PlatformEvents;

/* Opens the window and starts the GUI in it. error gets one sentence when it fails: -ENODEV no
 * display, -ENOTSUP no usable graphics. */
int platform_open(const PlatformOptions *options, const GuiStyle *style, Platform **ret,
                  char *error, size_t size);
Platform *platform_close(Platform *p);
PlatformEvents platform_wait(Platform *p,
                             int timeout_ms); /* 0: only what is there; negative: for ever */
void platform_wake(Platform *p);              /* from any thread: ends the wait */
void platform_frame(Platform *p);             /* before gui_frame_begin() */
void platform_present(Platform *p);           /* after gui_frame_end() */
void platform_hide(Platform *p);              /* at the end: a request may still be waited for */
bool platform_is_hidden(const Platform *p);
bool platform_is_slow(const Platform *p); /* drawn by the CPU: fewer frames are kinder */
float platform_scale(const Platform *p);
void platform_restyle(Platform *p, float scale, const GuiStyle *style);
void platform_size(const Platform *p, int *ret_width, int *ret_height); /* logical pixels */
int platform_screenshot(Platform *p, const char *file); /* PNG of the last presented frame */

static inline void platform_closep(Platform **p)
{
    if (*p)
        *p = platform_close(*p);
}
