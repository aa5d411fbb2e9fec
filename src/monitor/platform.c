/* Three ways to a picture behind one set of calls.
 *
 * ImGui 1.86 has no queue of input: a key that goes down and up between two frames is lost. So
 * platform_wait() returns after each edge, and the caller builds a frame for it; the
 * unchanged-picture check keeps that cheap.
 *
 * Headless uses EGL on Mesa's surfaceless platform: no X, no Wayland, the same OpenGL code,
 * byte-identical pictures. Where OpenGL 3.3 is missing, SDL_Renderer draws the same triangles on
 * the CPU (gui_soft_draw). */
#include "monitor/platform.h"

#include <EGL/egl.h>
#include <EGL/eglext.h>
#include <GL/gl.h>
#include <SDL2/SDL.h>
#include <errno.h>
#include <poll.h>
#include <stb/stb_image_write.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>

#include "basic/i18n.h"
#include "basic/log.h"
#include "basic/macro.h"
#include "basic/text.h"

#define WIDTH_MIN  720
#define HEIGHT_MIN 480

struct Platform {
    bool headless, software, slow, hidden;
    float scale;
    int width, height; /* device pixels, headless */
    SDL_Window *window;
    SDL_GLContext gl;
    SDL_Renderer *renderer;
    Uint32 wake_event;
    EGLDisplay display;
    EGLContext context;
    EGLSurface surface;
    int wake_fd;
    bool has_sdl, has_backend;
};

/* ---- headless ---- */

static int egl_open(Platform *p, char *error, size_t size)
{
    static const EGLint config_attributes[] = {EGL_SURFACE_TYPE,
                                               EGL_PBUFFER_BIT,
                                               EGL_RENDERABLE_TYPE,
                                               EGL_OPENGL_BIT,
                                               EGL_RED_SIZE,
                                               8,
                                               EGL_GREEN_SIZE,
                                               8,
                                               EGL_BLUE_SIZE,
                                               8,
                                               EGL_ALPHA_SIZE,
                                               8,
                                               EGL_NONE};
    static const EGLint context_attributes[] = {EGL_CONTEXT_MAJOR_VERSION,
                                                3,
                                                EGL_CONTEXT_MINOR_VERSION,
                                                3,
                                                EGL_CONTEXT_OPENGL_PROFILE_MASK,
                                                EGL_CONTEXT_OPENGL_CORE_PROFILE_BIT,
                                                EGL_NONE};
    const EGLint surface_attributes[] = {EGL_WIDTH, p->width, EGL_HEIGHT, p->height, EGL_NONE};
    PFNEGLGETPLATFORMDISPLAYEXTPROC get_display =
        (PFNEGLGETPLATFORMDISPLAYEXTPROC)eglGetProcAddress("eglGetPlatformDisplayEXT");
    EGLConfig config;
    EGLint n = 0;

    if (get_display)
        p->display = get_display(EGL_PLATFORM_SURFACELESS_MESA, EGL_DEFAULT_DISPLAY, NULL);
    if (p->display == EGL_NO_DISPLAY || !eglInitialize(p->display, NULL, NULL)) {
        text_copy(error, size,
                  _("EGL has no surfaceless display here (Mesa is needed: libegl-mesa0, "
                    "libgl1-mesa-dri)"));
        return -ENOTSUP;
    }
    if (eglBindAPI(EGL_OPENGL_API) &&
        eglChooseConfig(p->display, config_attributes, &config, 1, &n) && n == 1) {
        p->context = eglCreateContext(p->display, config, EGL_NO_CONTEXT, context_attributes);
        p->surface = eglCreatePbufferSurface(p->display, config, surface_attributes);
    }
    if (!p->context || !p->surface ||
        !eglMakeCurrent(p->display, p->surface, p->surface, p->context)) {
        snprintf(error, size, _("OpenGL 3.3 cannot be had through EGL (error 0x%x)"),
                 (unsigned)eglGetError());
        return -ENOTSUP;
    }
    p->wake_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    return p->wake_fd < 0 ? -errno : 0;
}

/* The display is the process's and stays: ending it unloads Mesa's driver, whose leftovers then
 * look like our leaks. */
static void egl_close(Platform *p)
{
    if (p->display == EGL_NO_DISPLAY)
        return;
    eglMakeCurrent(p->display, EGL_NO_SURFACE, EGL_NO_SURFACE, EGL_NO_CONTEXT);
    if (p->surface)
        eglDestroySurface(p->display, p->surface);
    if (p->context)
        eglDestroyContext(p->display, p->context);
}

static PlatformEvents egl_wait(Platform *p, int timeout_ms)
{
    struct pollfd fd = {.fd = p->wake_fd, .events = POLLIN};
    uint64_t count;
    PlatformEvents e = {0};

    if (poll(&fd, 1, timeout_ms) > 0)
        e.input = read(p->wake_fd, &count, sizeof count) == sizeof count;
    return e;
}

/* ---- SDL ---- */

static float display_scale(void)
{
    float dpi = 96;

    if (SDL_GetDisplayDPI(0, &dpi, NULL, NULL) != 0 || dpi < 120 || dpi > 400)
        return 1;
    return (float)(int)(dpi / 96 * 4 + 0.5F) / 4;
}

static int sdl_window(Platform *p, const PlatformOptions *o, Uint32 flags)
{
    p->window =
        SDL_CreateWindow("services_monitor", SDL_WINDOWPOS_CENTERED, SDL_WINDOWPOS_CENTERED,
                         (int)((float)o->width * p->scale), (int)((float)o->height * p->scale),
                         flags | SDL_WINDOW_RESIZABLE | SDL_WINDOW_ALLOW_HIGHDPI);
    if (!p->window)
        return -ENOTSUP;
    SDL_SetWindowMinimumSize(p->window, (int)(WIDTH_MIN * p->scale), (int)(HEIGHT_MIN * p->scale));
    return 0;
}

static int sdl_open_gl(Platform *p, const PlatformOptions *o)
{
    SDL_GL_SetAttribute(SDL_GL_CONTEXT_MAJOR_VERSION, 3);
    SDL_GL_SetAttribute(SDL_GL_CONTEXT_MINOR_VERSION, 3);
    SDL_GL_SetAttribute(SDL_GL_CONTEXT_PROFILE_MASK, SDL_GL_CONTEXT_PROFILE_CORE);
    SDL_GL_SetAttribute(SDL_GL_DOUBLEBUFFER, 1);
    if (sdl_window(p, o, SDL_WINDOW_OPENGL) < 0)
        return -ENOTSUP;
    p->gl = SDL_GL_CreateContext(p->window);
    if (!p->gl) {
        SDL_DestroyWindow(p->window);
        p->window = NULL;
        return -ENOTSUP;
    }
    SDL_GL_SetSwapInterval(1);
    const char *renderer = (const char *)glGetString(GL_RENDERER);
    p->slow = renderer && (strstr(renderer, "llvmpipe") || strstr(renderer, "softpipe"));
    return 0;
}

static int sdl_open_software(Platform *p, const PlatformOptions *o)
{
    if (sdl_window(p, o, 0) < 0)
        return -ENOTSUP;
    p->renderer = SDL_CreateRenderer(p->window, -1, 0);
    if (!p->renderer)
        return -ENOTSUP;
    p->software = p->slow = true;
    return 0;
}

static int sdl_open(Platform *p, const PlatformOptions *o, char *error, size_t size)
{
    setenv("SDL_VIDEO_X11_WMCLASS", "services_monitor", 0);
    setenv("SDL_VIDEO_WAYLAND_WMCLASS", "services_monitor", 0);
    SDL_SetHint(SDL_HINT_VIDEO_X11_NET_WM_BYPASS_COMPOSITOR, "0");
    SDL_SetHint(SDL_HINT_VIDEO_ALLOW_SCREENSAVER, "1");
    SDL_SetHint(SDL_HINT_NO_SIGNAL_HANDLERS, "1");
    if (SDL_Init(SDL_INIT_VIDEO) != 0) {
        snprintf(error, size, _("there is no display to open a window on (%s)"), SDL_GetError());
        return -ENODEV;
    }
    p->has_sdl = true;
    if (strcmp(SDL_GetCurrentVideoDriver(), "offscreen") == 0 ||
        strcmp(SDL_GetCurrentVideoDriver(), "dummy") == 0) {
        text_copy(error, size, _("there is no display to open a window on"));
        return -ENODEV;
    }
    if (p->scale <= 0)
        p->scale = display_scale();
    p->wake_event = SDL_RegisterEvents(1);
    if (!o->software && sdl_open_gl(p, o) == 0)
        return 0;
    log_info("OpenGL 3.3 is %s, drawing without it: %s",
             o->software ? "not wanted" : "not to be had",
             o->software ? "--software" : SDL_GetError());
    if (sdl_open_software(p, o) == 0)
        return 0;
    snprintf(error, size, _("no way to draw into a window (%s)"), SDL_GetError());
    return -ENOTSUP;
}

static void sdl_event(Platform *p, const SDL_Event *event, PlatformEvents *e)
{
    e->input = true;
    gui_sdl_event(event);
    switch (event->type) {
    case SDL_QUIT: e->quit = true; break;
    case SDL_KEYDOWN:
    case SDL_KEYUP:
    case SDL_MOUSEBUTTONDOWN:
    case SDL_MOUSEBUTTONUP: e->edge = true; break;
    case SDL_WINDOWEVENT:
        switch (event->window.event) {
        case SDL_WINDOWEVENT_HIDDEN:
        case SDL_WINDOWEVENT_MINIMIZED: p->hidden = true; break;
        case SDL_WINDOWEVENT_SHOWN:
        case SDL_WINDOWEVENT_RESTORED:
        case SDL_WINDOWEVENT_EXPOSED:
        case SDL_WINDOWEVENT_SIZE_CHANGED:
            p->hidden = false;
            e->exposed = true;
            break;
        case SDL_WINDOWEVENT_CLOSE: e->quit = true; break;
        default: break;
        }
        break;
    default: break;
    }
}

static PlatformEvents sdl_wait(Platform *p, int timeout_ms)
{
    PlatformEvents e = {0};
    SDL_Event event;
    bool got = timeout_ms < 0   ? SDL_WaitEvent(&event)
               : timeout_ms > 0 ? SDL_WaitEventTimeout(&event, timeout_ms)
                                : SDL_PollEvent(&event);

    for (; got; got = !e.edge && SDL_PollEvent(&event))
        sdl_event(p, &event, &e);
    return e;
}

/* ---- both ---- */

static bool backend_start(Platform *p)
{
    if (p->headless) {
        gui_headless_init((float)p->width, (float)p->height);
        p->has_backend = gui_gl_init();
    } else if (p->software)
        p->has_backend = gui_sdl_init(p->window, NULL) && gui_soft_init(p->renderer);
    else
        p->has_backend = gui_sdl_init(p->window, p->gl) && gui_gl_init();
    return p->has_backend;
}

int platform_open(const PlatformOptions *options, const GuiStyle *style, Platform **ret,
                  char *error, size_t size)
{
    CLEANUP(platform_closep) Platform *p = calloc(1, sizeof *p);

    if (!p)
        return -ENOMEM;
    p->wake_fd = -1;
    p->display = EGL_NO_DISPLAY;
    p->headless = options->headless;
    p->scale = p->headless && options->scale <= 0 ? 1 : options->scale;
    p->width = (int)((float)options->width * p->scale);
    p->height = (int)((float)options->height * p->scale);
    int r = p->headless ? egl_open(p, error, size) : sdl_open(p, options, error, size);
    if (r < 0)
        return r;
    gui_init(p->scale, style);
    if (!backend_start(p)) {
        gui_shutdown();
        text_copy(error, size, _("the graphics backend does not start"));
        return -ENOTSUP;
    }
    *ret = TAKE_PTR(p);
    return 0;
}

Platform *platform_close(Platform *p)
{
    if (!p)
        return NULL;
    if (p->has_backend) {
        p->software ? gui_soft_shutdown() : gui_gl_shutdown();
        if (!p->headless)
            gui_sdl_shutdown();
        gui_shutdown();
    }
    if (p->renderer)
        SDL_DestroyRenderer(p->renderer);
    if (p->gl)
        SDL_GL_DeleteContext(p->gl);
    if (p->window)
        SDL_DestroyWindow(p->window);
    if (p->has_sdl)
        SDL_Quit();
    egl_close(p);
    close_fd(p->wake_fd);
    free(p);
    return NULL;
}

PlatformEvents platform_wait(Platform *p, int timeout_ms)
{
    return p->headless ? egl_wait(p, timeout_ms) : sdl_wait(p, timeout_ms);
}

void platform_wake(Platform *p)
{
    uint64_t one = 1;

    if (p->headless) {
        if (write(p->wake_fd, &one, sizeof one) < 0)
            return; /* the counter is full: it wakes anyway */
    } else {
        SDL_Event event = {.type = p->wake_event};
        SDL_PushEvent(&event);
    }
}

void platform_frame(Platform *p)
{
    if (!p->software)
        gui_gl_frame();
    if (!p->headless)
        gui_sdl_frame();
}

static void clear_gl(int width, int height)
{
    glViewport(0, 0, width, height);
    glClearColor(0.055F, 0.067F, 0.09F, 1);
    glClear(GL_COLOR_BUFFER_BIT);
}

void platform_present(Platform *p)
{
    int width = p->width, height = p->height;

    if (p->software) {
        SDL_SetRenderDrawColor(p->renderer, 14, 17, 23, 255);
        SDL_RenderClear(p->renderer);
        gui_soft_draw();
        SDL_RenderPresent(p->renderer);
        return;
    }
    if (!p->headless)
        SDL_GL_GetDrawableSize(p->window, &width, &height);
    clear_gl(width, height);
    gui_gl_draw();
    if (p->headless)
        glFinish();
    else
        SDL_GL_SwapWindow(p->window);
}

void platform_hide(Platform *p)
{
    if (p->window)
        SDL_HideWindow(p->window);
}

bool platform_is_hidden(const Platform *p)
{
    return p->hidden;
}

bool platform_is_slow(const Platform *p)
{
    return p->slow;
}

float platform_scale(const Platform *p)
{
    return p->scale;
}

void platform_restyle(Platform *p, float scale, const GuiStyle *style)
{
    bool fonts = scale != p->scale;

    p->scale = scale;
    gui_restyle(scale, style);
    if (!fonts)
        return;
    if (p->software)
        gui_soft_renew_fonts();
    else
        gui_gl_renew_fonts();
}

void platform_size(const Platform *p, int *ret_width, int *ret_height)
{
    int width = p->width, height = p->height;

    if (p->window)
        SDL_GetWindowSize(p->window, &width, &height);
    *ret_width = (int)((float)width / p->scale);
    *ret_height = (int)((float)height / p->scale);
}

static bool read_pixels(Platform *p, unsigned char *pixels, int width, int height)
{
    if (p->software)
        return SDL_RenderReadPixels(p->renderer, NULL, SDL_PIXELFORMAT_ABGR8888, pixels,
                                    width * 4) == 0;
    glPixelStorei(GL_PACK_ALIGNMENT, 1);
    glReadBuffer(p->headless ? GL_BACK : GL_FRONT);
    glReadPixels(0, 0, width, height, GL_RGBA, GL_UNSIGNED_BYTE, pixels);
    return glGetError() == GL_NO_ERROR;
}

int platform_screenshot(Platform *p, const char *file)
{
    int width = p->width, height = p->height;

    if (p->software)
        SDL_GetRendererOutputSize(p->renderer, &width, &height);
    else if (!p->headless)
        SDL_GL_GetDrawableSize(p->window, &width, &height);
    CLEANUP_FREE unsigned char *pixels = calloc((size_t)width * (size_t)height, 4);
    if (!pixels)
        return -ENOMEM;
    if (!read_pixels(p, pixels, width, height))
        return -EIO;
    for (size_t i = 3; i < (size_t)width * (size_t)height * 4; i += 4)
        pixels[i] = 255;
    stbi_flip_vertically_on_write(!p->software);
    return stbi_write_png(file, width, height, 4, pixels, width * 4) ? 0 : -EIO;
}
