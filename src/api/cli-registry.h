/* The commands about what is expected: import, export, add, check-registry, check-config.
 *
 * argv[0] is the command's word. Each says what it did on stdout and what is wrong on stderr, and
 * returns the exit code: 0, or 2 for wrong usage, invalid input and files that cannot be read or
 * written. Nothing is half done. */
#pragma once

int cli_import(int argc, char *argv[]);
int cli_export(int argc, char *argv[]);
int cli_add(int argc, char *argv[]);
int cli_check_registry(int argc, char *argv[]);
int cli_check_config(int argc, char *argv[]);
