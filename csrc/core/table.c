#include "table.h"

#include <stdlib.h>

static const char gone; /* only its address counts */
#define SRM_TABLE_GONE ((void *)(uintptr_t)&gone)

/* Keys may be sequential in tests: spread them. */
static size_t slot_of(const srm_table *table, uint64_t key) {
    return (size_t)((key * UINT64_C(0x9E3779B97F4A7C15)) >> 20) & (table->capacity - 1);
}

void srm_table_init(srm_table *table) {
    memset(table, 0, sizeof *table);
}

void srm_table_fini(srm_table *table) {
    free(table->slots);
    srm_table_init(table);
}

static void place(srm_table *table, uint64_t key, void *value) {
    size_t i = slot_of(table, key);
    while (table->slots[i].value != NULL)
        i = (i + 1) & (table->capacity - 1);
    table->slots[i] = (srm_table_slot){key, value};
    table->used++;
    table->count++;
}

static bool grow(srm_table *table) {
    srm_table bigger = {.capacity = table->count * 4 < 16 ? 16 : table->capacity};
    while (bigger.capacity < table->count * 4)
        bigger.capacity *= 2;
    bigger.slots = calloc(bigger.capacity, sizeof *bigger.slots);
    if (bigger.slots == NULL)
        return false;
    for (size_t i = 0; i < table->capacity; i++)
        if (table->slots[i].value != NULL && table->slots[i].value != SRM_TABLE_GONE)
            place(&bigger, table->slots[i].key, table->slots[i].value);
    free(table->slots);
    *table = bigger;
    return true;
}

bool srm_table_add(srm_table *table, uint64_t key, void *value) {
    SRM_ASSERT(value != NULL);
    if ((table->used + 1) * 4 > table->capacity * 3 && !grow(table))
        return false;
    place(table, key, value);
    return true;
}

void srm_table_remove(srm_table *table, uint64_t key, const void *value) {
    if (table->capacity == 0)
        return;
    for (size_t i = slot_of(table, key); table->slots[i].value != NULL; i = (i + 1) & (table->capacity - 1))
        if (table->slots[i].key == key && table->slots[i].value == value) {
            table->slots[i].value = SRM_TABLE_GONE;
            table->count--;
            return;
        }
}

void *srm_table_each(const srm_table *table, uint64_t key, size_t *cursor) {
    if (table->capacity == 0)
        return NULL;
    size_t mask = table->capacity - 1, start = slot_of(table, key);
    for (size_t step = *cursor; step < table->capacity; step++) {
        const srm_table_slot *slot = &table->slots[(start + step) & mask];
        if (slot->value == NULL)
            break;
        if (slot->key == key && slot->value != SRM_TABLE_GONE) {
            *cursor = step + 1;
            return slot->value;
        }
    }
    *cursor = table->capacity;
    return NULL;
}

void *srm_table_find(const srm_table *table, uint64_t key) {
    size_t cursor = 0;
    return srm_table_each(table, key, &cursor);
}
