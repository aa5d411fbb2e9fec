/* The command line: one table of commands; each parses its own options and returns the exit code.
 */
#pragma once

int cli_main(int argc, char *argv[]);
