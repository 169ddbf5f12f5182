/* replay - runs a fuzz target over given files, and all files in given folders, with any compiler: findings
 * and seeds become tests. The last line is "N passed, 0 failed"; an input that fails ends the program as it
 * did the fuzzer, with its name as the last thing said. */
#include "fuzz.h"

#include <dirent.h>
#include <sys/stat.h>

static uint8_t *read_all(const char *path, size_t *size) {
    FILE *file = fopen(path, "rb");
    uint8_t *bytes = NULL;
    size_t capacity = 0;
    *size = 0;
    if (file == NULL)
        return NULL;
    do {
        capacity = capacity == 0 ? 4096 : 2 * capacity;
        uint8_t *grown = realloc(bytes, capacity);
        if (grown == NULL)
            break;
        bytes = grown;
        *size += fread(bytes + *size, 1, capacity - *size, file);
    } while (*size == capacity);
    fclose(file);
    return bytes;
}

/* In memory of exactly its size, so that a step beyond its end is noticed. */
static void run_file(const char *path, unsigned *count) {
    size_t size;
    uint8_t *bytes = read_all(path, &size);
    uint8_t *exact = malloc(size > 0 ? size : 1);
    if (bytes == NULL || exact == NULL) {
        fprintf(stderr, "cannot read %s\n", path);
        exit(2);
    }
    memcpy(exact, bytes, size);
    fprintf(stderr, "%s\n", path);
    LLVMFuzzerTestOneInput(exact, size);
    free(exact);
    free(bytes);
    ++*count;
}

static void run_path(const char *path, unsigned *count) {
    struct stat info;
    if (stat(path, &info) == 0 && !S_ISDIR(info.st_mode)) {
        run_file(path, count);
        return;
    }
    struct dirent **names;
    int found = scandir(path, &names, NULL, alphasort); /* nothing there: nothing to do */
    for (int i = 0; i < found; i++) {
        char file[4096];
        if (names[i]->d_name[0] != '.' &&
            snprintf(file, sizeof file, "%s/%s", path, names[i]->d_name) < (int)sizeof file)
            run_path(file, count);
        free(names[i]);
    }
    if (found >= 0)
        free(names);
}

int main(int argc, char **argv) {
    unsigned count = 0;
    LLVMFuzzerInitialize(&argc, &argv);
    LLVMFuzzerTestOneInput((const uint8_t *)"", 0);
    count++;
    for (int i = 1; i < argc; i++)
        run_path(argv[i], &count);
    printf("%u passed, 0 failed\n", count);
    return 0;
}
