/* Commands that say what is known already: ack, silence, maintenance, silences, unsilence. Each
 * asks the daemon and returns the exit code of its process. */
#pragma once

int cli_ack(int argc, char *argv[]);
int cli_silence(int argc, char *argv[]);
int cli_maintenance(int argc, char *argv[]);
int cli_silences(int argc, char *argv[]);
int cli_unsilence(int argc, char *argv[]);
