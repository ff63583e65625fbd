#include "base/settings.h"

#include "base/memory.h"

// A few hundred keys, read at start: a sorted array is the simplest thing that is fast enough.
struct setting {
    char *key, *value;
};

struct settings {
    struct setting *items;
    size_t count, capacity;
};

struct settings *settings_new(void) { return memory_zero(1, sizeof(struct settings)); }

void settings_free(struct settings *settings) {
    if (!settings) return;
    for (size_t i = 0; i < settings->count; i++) {
        memory_free(settings->items[i].key);
        memory_free(settings->items[i].value);
    }
    memory_free(settings->items);
    memory_free(settings);
}

// The place of the key, or where it would go.
static size_t settings_place(const struct settings *settings, const char *key, bool *found) {
    size_t low = 0, high = settings->count;
    *found = false;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        int order = strcmp(settings->items[middle].key, key);
        if (order == 0) {
            *found = true;
            return middle;
        }
        if (order < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

void settings_set(struct settings *settings, const char *key, const char *value) {
    bool found;
    size_t place = settings_place(settings, key, &found);
    if (found) {
        char *copy = memory_copy_string(value); // value may be the old one itself
        memory_free(settings->items[place].value);
        settings->items[place].value = copy;
        return;
    }
    if (settings->count == settings->capacity) {
        settings->capacity = settings->capacity ? settings->capacity * 2 : 64;
        settings->items =
            memory_resize(settings->items, settings->capacity * sizeof *settings->items);
    }
    memmove(&settings->items[place + 1], &settings->items[place],
            (settings->count - place) * sizeof *settings->items);
    settings->items[place] =
        (struct setting){memory_copy_string(key), memory_copy_string(value)};
    settings->count++;
}

const char *settings_text(const struct settings *settings, const char *key,
                          const char *otherwise) {
    bool found;
    size_t place = settings_place(settings, key, &found);
    return found ? settings->items[place].value : otherwise;
}

int64_t settings_integer(const struct settings *settings, const char *key, int64_t otherwise) {
    const char *text = settings_text(settings, key, NULL);
    int64_t value;
    return text && slice_to_i64(slice_of(text), &value) ? value : otherwise;
}

bool settings_boolean(const struct settings *settings, const char *key, bool otherwise) {
    const char *text = settings_text(settings, key, NULL);
    if (!text) return otherwise;
    if (strcmp(text, "true") == 0) return true;
    if (strcmp(text, "false") == 0) return false;
    return otherwise;
}

bool settings_next(const struct settings *settings, size_t *cursor, const char **key,
                   const char **value) {
    if (*cursor >= settings->count) return false;
    *key = settings->items[*cursor].key;
    *value = settings->items[*cursor].value;
    (*cursor)++;
    return true;
}
