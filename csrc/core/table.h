/* table - a hash table from 64-bit keys to pointers, several values a key allowed. Keys are random or hashed
 * with a secret by the caller; so no attacker can choose collisions. Open addressing, grows by doubling. */
#ifndef SRM_TABLE_H
#define SRM_TABLE_H

#include "base.h"

typedef struct srm_table_slot {
    uint64_t key;
    void *value; /* NULL: never used; SRM_TABLE_GONE: removed */
} srm_table_slot;

typedef struct srm_table {
    srm_table_slot *slots;
    size_t capacity; /* a power of two, or 0 */
    size_t used;     /* with the removed ones */
    size_t count;
} srm_table;

void srm_table_init(srm_table *table);
void srm_table_fini(srm_table *table);
/* False without memory. The same (key, value) may stand in it once. */
bool srm_table_add(srm_table *table, uint64_t key, void *value);
void srm_table_remove(srm_table *table, uint64_t key, const void *value);
/* The first value of the key, or NULL. */
void *srm_table_find(const srm_table *table, uint64_t key);
/* Iterates over the values of one key: start with *cursor = 0. NULL at the end. The table must not change
 * meanwhile. */
void *srm_table_each(const srm_table *table, uint64_t key, size_t *cursor);

#endif
