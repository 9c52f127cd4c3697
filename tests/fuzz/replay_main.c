/*
 * Runs a fuzzer over files instead of random bytes: every file of the folders given as arguments,
 * once. So the corpus and every crash of the past run with the ordinary tests and compilers. A
 * folder without files fails: a moved corpus must not pass.
 */
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "tests/fuzz/fuzz.h"

enum { INPUT_MAX = 16 << 20 };

static void fail(const char *path, const char *why) __attribute__((noreturn));

static void fail(const char *path, const char *why)
{
    fprintf(stderr, "%s: %s\n", path, why);
    exit(1);
}

/* The bytes are put into memory of exactly their size, so that AddressSanitizer sees a read past
 * them. */
static void replay_file(const char *path, const struct stat *st)
{
    if (st->st_size > INPUT_MAX)
        fail(path, "larger than a fuzzer's input may be");
    size_t len = (size_t)st->st_size;
    uint8_t *data = malloc(len > 0 ? len : 1);
    FILE *file = fopen(path, "rb");
    if (data == NULL || file == NULL || fread(data, 1, len, file) != len)
        fail(path, "cannot be read");
    fclose(file);
    LLVMFuzzerTestOneInput(data, len);
    free(data);
}

/* Returns the number of files run. Folders in the folder are left alone. */
static int replay_folder(const char *folder)
{
    struct dirent **entries;
    int n = scandir(folder, &entries, NULL, alphasort), n_run = 0;
    if (n < 0)
        fail(folder, "no such folder");
    for (int i = 0; i < n; i++) {
        char path[4096];
        struct stat st;
        snprintf(path, sizeof(path), "%s/%s", folder, entries[i]->d_name);
        if (stat(path, &st) == 0 && S_ISREG(st.st_mode)) {
            replay_file(path, &st);
            n_run++;
        }
        free(entries[i]);
    }
    free(entries);
    if (n_run == 0)
        fail(folder, "holds no files");
    return n_run;
}

int main(int argc, char **argv)
{
    int n_run = 0;
    if (argc < 2)
        fail(argv[0], "needs folders as arguments");
    for (int i = 1; i < argc; i++)
        n_run += replay_folder(argv[i]);
    printf("%d inputs replayed\n", n_run);
    return 0;
}
