/* `ss -Htlne` of a hostile PC: the table is sorted, bounded and true to itself. */
#include "api/probe-port.h"
#include "fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    PortTable table = {};
    size_t bad = 0;
    const PortEntry *entry = NULL;

    if (port_table_parse_ss(&table, (const char *)data, len, 1, &bad) >= 0) {
        PROMISE(table.n <= PORT_TABLE_MAX && table.n <= table.cap);
        for (size_t i = 0; i < table.n; i++) {
            PROMISE(table.entries[i].port > 0);
            PROMISE(i == 0 || table.entries[i - 1].port <= table.entries[i].port);
            PROMISE(port_listening_check(&table, table.entries[i].port, &entry));
            PROMISE(entry && entry->port == table.entries[i].port);
        }
    }
    port_table_done(&table);
    return 0;
}
