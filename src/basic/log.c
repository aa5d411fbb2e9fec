/* See log.h. A line is made on the stack and leaves by one write(2): no allocation, no lock, no
 * buffer that a crash could lose, so it may be called from any thread and with memory exhausted. A
 * line longer than 2 KiB is cut. The level is set once, before threads start. */
#include "basic/log.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "basic/text.h"

static LogLevel max_level = LOG_LEVEL_INFO;

void log_set_max_level(LogLevel level)
{
    max_level = level;
}

static const char *level_name(LogLevel level)
{
    switch (level) {
    case LOG_LEVEL_ERROR: return "error: ";
    case LOG_LEVEL_WARNING: return "warning: ";
    case LOG_LEVEL_DEBUG: return "debug: ";
    case LOG_LEVEL_INFO: break;
    }
    return "";
}

void log_write(LogLevel level, const char *format, ...)
{
    char raw[2048], clean[2048], line[2112];
    va_list ap;

    if (level > max_level)
        return;
    va_start(ap, format);
    int n = vsnprintf(raw, sizeof raw, format, ap);
    va_end(ap);
    if (n < 0)
        return;
    text_clean(clean, sizeof clean, raw, strnlen(raw, sizeof raw));
    n = getenv("JOURNAL_STREAM") ? snprintf(line, sizeof line, "<%d>%s\n", (int)level, clean)
                                 : snprintf(line, sizeof line, "%s%s\n", level_name(level), clean);
    /* one write, so lines of two threads never mix; a closed stderr is nobody's problem */
    if (n > 0 && write(STDERR_FILENO, line, MIN((size_t)n, sizeof line - 1)) < 0)
        return;
}
