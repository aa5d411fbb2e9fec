/* The thin beginning of services_api: everything else is in a library that the tests link. */
#include "api/cli.h"

int main(int argc, char *argv[])
{
    return cli_main(argc, argv);
}
