/* token: where the token is, and a new one in its place. Returns the exit code. */
#pragma once

int cli_token(int argc, char *argv[]);
