/* Replays the fuzzers' corpora, and every file of them cut and changed in many places: nothing may
 * crash, and what is refused is refused with a message. */
#include "check.h"
#include "fuzz.h"

#include <dirent.h>

enum { CHANGES = 300, CUTS = 60 };

struct tally {
    size_t files, accepted, refused;
};

static void count(struct tally *tally, bool accepted)
{
    if (accepted)
        tally->accepted++;
    else
        tally->refused++;
}

/* The file as it is, cut at places spread over its length, and with one to four bytes changed. */
static void replay(bool (*reader)(const void *bytes, size_t size), const struct cn_str *file,
                   struct tally *tally)
{
    char *bytes = malloc(file->length + 1);
    if (!bytes) {
        CHECK_FAILED("out of memory");
        return;
    }
    count(tally, reader(file->data, file->length));
    for (size_t i = 0; i < CUTS; i++) {
        size_t length = file->length * i / CUTS;
        memcpy(bytes, file->data, length);
        count(tally, reader(bytes, length));
    }
    uint64_t state = 0x9E3779B97F4A7C15u + file->length;
    for (size_t i = 0; i < CHANGES && file->length; i++) {
        memcpy(bytes, file->data, file->length);
        for (size_t n = 0; n <= i % 4; n++) {
            state = state * 6364136223846793005u + 1442695040888963407u;
            size_t place =
                (size_t)(state >> 33) % (i % 2 && file->length > 256 ? 256 : file->length);
            bytes[place] = (char)(state >> 20);
        }
        count(tally, reader(bytes, file->length));
    }
    free(bytes);
}

static void replay_folder(const char *name, bool (*reader)(const void *bytes, size_t size))
{
    struct tally tally = {0};
    char folder[512], path[1024];
    snprintf(folder, sizeof folder, "%s/fuzz/%s", CN_TEST_DATA, name);
    DIR *stream = opendir(folder);
    if (!stream) {
        CHECK_FAILED("no folder %s", folder);
        return;
    }
    for (struct dirent *entry; (entry = readdir(stream));) {
        struct cn_str file = {0};
        if (entry->d_name[0] == '.') continue;
        snprintf(path, sizeof path, "%s/%s", folder, entry->d_name);
        if (cn_file_read(path, 1 << 24, &file) == CN_OK)
            replay(reader, &file, &tally);
        else
            CHECK_FAILED("%s", cn_fail_message());
        tally.files++;
        cn_str_free(&file);
    }
    closedir(stream);
    fuzz_clean();
    printf("  %zu files: %zu inputs accepted, %zu refused\n", tally.files, tally.accepted,
           tally.refused);
    CHECK(tally.files >= 2);
    CHECK(tally.accepted > 0); /* the reader got past its first check */
    CHECK(tally.refused > CUTS / 2);
}

#define X(name)                                                                                    \
    TEST(name##_reader_survives_its_corpus)                                                        \
    {                                                                                              \
        replay_folder(#name, fuzz_##name);                                                         \
    }
FUZZ_TARGETS(X)
#undef X

int main(int argc, char **argv)
{
    return check_main(argc, argv);
}
