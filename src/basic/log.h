/* One event, one line, on stderr. Under systemd (JOURNAL_STREAM) each line carries its priority as
 * sd-daemon(3)'s
 * "<n>" prefix; on a terminal the level's name. Control characters and invalid UTF-8 are escaped
 * here, so whatever a hostile PC sends stays one harmless line. Libraries below the programs log
 * nothing above debug. */
#pragma once

#include "basic/macro.h"

typedef enum LogLevel {
    LOG_LEVEL_ERROR = 3,
    LOG_LEVEL_WARNING = 4,
    LOG_LEVEL_INFO = 6,
    LOG_LEVEL_DEBUG = 7,
} LogLevel;

void log_set_max_level(LogLevel level); /* default info */
void log_write(LogLevel level, const char *format, ...) PRINTF(2, 3);

#define log_error(...)   log_write(LOG_LEVEL_ERROR, __VA_ARGS__)
#define log_warning(...) log_write(LOG_LEVEL_WARNING, __VA_ARGS__)
#define log_info(...)    log_write(LOG_LEVEL_INFO, __VA_ARGS__)
#define log_debug(...)   log_write(LOG_LEVEL_DEBUG, __VA_ARGS__)
