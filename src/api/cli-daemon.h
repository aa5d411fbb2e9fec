/* Commands that look at the present: status, watch, check, logs; and serve, the daemon itself.
 * Each returns the exit code of its process. */
#pragma once

int cli_serve(int argc, char *argv[]);
int cli_status(int argc, char *argv[]);
int cli_watch(int argc, char *argv[]);
int cli_check(int argc, char *argv[]);
int cli_alerts(int argc, char *argv[]);
int cli_logs(int argc, char *argv[]);
