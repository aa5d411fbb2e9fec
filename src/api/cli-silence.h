/* Commands that say what is known already: ack, silence, maintenance, silences, unsilence. Each
 * asks the daemon and returns the exit code of its process. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

int cli_ack(int argc, char *argv[]);
int cli_silence(int argc, char *argv[]);
int cli_maintenance(int argc, char *argv[]);
int cli_silences(int argc, char *argv[]);
int cli_unsilence(int argc, char *argv[]);

/* "90s", "30m", "2h", "3d", "1h30m": at least a second, at most 366 days. False: it is none. */
bool cli_duration(const char *text, int64_t *ret_s);
