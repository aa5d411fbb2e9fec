/* action and audit: have the daemon act on a unit, and see what was done. Each returns the exit
 * code of its process. */
#pragma once

int cli_action(int argc, char *argv[]);
int cli_audit(int argc, char *argv[]);
