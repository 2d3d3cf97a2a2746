/* What is done with hostile bytes: one function per reader, used by the libFuzzer programs
 * (fuzz_*.c) and by test_corpus.c, which replays the corpora of tests/data/fuzz without clang.
 *
 * Each returns true if the reader accepted the bytes.  Whatever it accepts is used, so that a file
 * that passes its checks but breaks later is found; a broken promise ends the process. */
#ifndef CARNOT_FUZZ_H
#define CARNOT_FUZZ_H

#include "carnot/data.h"
#include "carnot/json.h"
#include "carnot/log.h"
#include "carnot/reward.h"
#include "carnot/tokenizer.h"
#include "rewards/code/code.h"
#include "rewards/service/frame.h"
#include "rewards/service/request.h"
#include "trainer/core/config.h"
#include "trainer/model/gguf.h"
#include "trainer/model/safetensors.h"
#include "trainer/model/shape.h"
#include "trainer/config/schema.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define FUZZ_PROMISE(condition)                                                                    \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            fprintf(stderr, "%s:%d: broken promise: %s\n", __FILE__, __LINE__, #condition);        \
            abort();                                                                               \
        }                                                                                          \
    } while (0)

/* A folder of this process's own, in memory where the system has that. */
static inline char *fuzz_folder(void)
{
    static char folder[64];
    if (!folder[0]) {
        snprintf(folder, sizeof folder, "%s/carnot-fuzz-XXXXXX",
                 access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp");
        FUZZ_PROMISE(mkdtemp(folder));
    }
    return folder;
}

/* Writes the bytes to a file of that name in the folder; the path lives until the next call. */
static inline const char *fuzz_file(const char *name, const void *bytes, size_t size)
{
    static char path[128];
    snprintf(path, sizeof path, "%s/%s", fuzz_folder(), name);
    int file = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    FUZZ_PROMISE(file >= 0 && write(file, bytes, size) == (ssize_t)size);
    close(file);
    return path;
}

/* Removes the folder and the files that fuzz_file made in it. */
static inline void fuzz_clean(void)
{
    static const char *const names[] = {"x.json", "x.safetensors", "x.gguf", "x.jsonl",
                                        "tokenizer.json"};
    char path[128];
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        snprintf(path, sizeof path, "%s/%s", fuzz_folder(), names[i]);
        unlink(path);
    }
    rmdir(fuzz_folder());
    fuzz_folder()[0] = 0; /* the next call makes a new one */
}

/* A failure must say why, and nothing may be left behind for the next call. */
static inline bool fuzz_refused(enum cn_status status)
{
    if (status == CN_OK) return false;
    FUZZ_PROMISE(*cn_fail_message() && status != CN_ERR_BUG);
    cn_fail_clear();
    return true;
}

/* What is parsed and printed reads back as the same tree; a tree that was accepted opens as a
 * configuration or is refused. */
static inline bool fuzz_json(const void *bytes, size_t size)
{
    struct cn_text text = {bytes, size};
    struct cn_json *tree, *again;
    struct cn_str first = {0}, second = {0};
    struct config *config;
    cn_log_level_set(CN_LOG_ERROR);
    const char *path = fuzz_file("x.json", bytes, size);
    if (!fuzz_refused(config_open(schema_all(), &path, 1, &config))) {
        FUZZ_PROMISE(config_print_resolved(config, &first) == CN_OK);
        config_close(config);
        cn_str_clear(&first);
    }
    bool strict = !fuzz_refused(cn_json_parse(text, "x", &tree));
    if (strict) cn_json_close(tree);
    if (fuzz_refused(cn_json_parse_config(text, "x", &tree))) {
        FUZZ_PROMISE(!strict); /* what is strict JSON is a configuration file too */
        cn_str_free(&first);
        return false;
    }
    FUZZ_PROMISE(cn_json_print(tree, size % 2, &first) == CN_OK);
    FUZZ_PROMISE(cn_json_parse(cn_str_text(&first), "printed", &again) == CN_OK);
    FUZZ_PROMISE(cn_json_print(again, size % 2, &second) == CN_OK);
    FUZZ_PROMISE(cn_text_equal(cn_str_text(&first), cn_str_text(&second)));
    cn_json_close(again);
    cn_json_close(tree);
    cn_str_free(&first);
    cn_str_free(&second);
    return true;
}

/* Every byte of every accepted tensor can be read. */
static inline bool fuzz_safetensors(const void *bytes, size_t size)
{
    struct safetensors *file;
    size_t count, sum = 0;
    if (fuzz_refused(safetensors_open(fuzz_file("x.safetensors", bytes, size), &file)))
        return false;
    const struct cn_buffer *tensor = safetensors_tensors(file, &count);
    for (size_t i = 0; i < count; i++) {
        const unsigned char *data = tensor[i].data;
        size_t length = tensor[i].count * cn_dtype_size(tensor[i].dtype);
        FUZZ_PROMISE(length <= size);
        for (size_t b = 0; b < length; b++)
            sum += data[b];
        FUZZ_PROMISE(safetensors_find(file, tensor[i].name) == &tensor[i]);
        float *out = malloc(tensor[i].count * sizeof *out + 1);
        FUZZ_PROMISE(out);
        fuzz_refused(
            safetensors_read_f32(file, tensor[i].name, tensor[i].rank, tensor[i].shape, out));
        free(out);
    }
    FUZZ_PROMISE(sum <= 255 * size);
    safetensors_metadata(file, "format");
    safetensors_close(file);
    return true;
}

static inline bool fuzz_gguf(const void *bytes, size_t size)
{
    struct gguf *file;
    struct gguf_list list;
    struct model_shape shape;
    struct cn_text text;
    double number;
    size_t count;
    if (fuzz_refused(gguf_open(fuzz_file("x.gguf", bytes, size), &file))) return false;
    const struct gguf_tensor *tensor = gguf_tensors(file, &count);
    for (size_t i = 0; i < count; i++) {
        FUZZ_PROMISE(tensor[i].count <=
                     2 * size); /* the densest type has more than half a byte per element */
        float *out = malloc(tensor[i].count * sizeof *out + 1);
        FUZZ_PROMISE(out);
        gguf_read_f32(&tensor[i], out);
        free(out);
    }
    if (gguf_list(file, "tokenizer.ggml.tokens", &list) && list.texts)
        for (size_t i = 0; i < list.count; i++)
            FUZZ_PROMISE(gguf_next_text(&list).length <= size);
    if (gguf_list(file, "tokenizer.ggml.token_type", &list) && !list.texts)
        for (size_t i = 0; i < list.count; i++)
            gguf_next_number(&list);
    gguf_text(file, "general.architecture", &text);
    gguf_number(file, "llama.block_count", &number);
    fuzz_refused(gguf_shape(file, &shape));
    gguf_close(file);
    return true;
}

/* What is encoded decodes to the same bytes. */
static inline bool fuzz_tokenizer(const void *bytes, size_t size)
{
    static const char text[] = "Hello, w\xC3\xB6rld! 12345  <|end|>\n\tx";
    struct cn_tokenizer *tokenizer;
    struct cn_ids ids = {0};
    struct cn_str back = {0};
    fuzz_file("tokenizer.json", bytes, size);
    if (fuzz_refused(cn_tokenizer_open(fuzz_folder(), "plain", &tokenizer))) return false;
    if (!fuzz_refused(cn_tokenizer_encode(tokenizer, cn_text(text), true, &ids)))
        fuzz_refused(cn_tokenizer_decode(tokenizer, ids.item, ids.count, false, &back));
    for (int32_t id = -1; id < 300; id++)
        fuzz_refused(cn_tokenizer_decode(tokenizer, &id, 1, true, &back));
    cn_str_free(&back);
    cn_ids_free(&ids);
    cn_tokenizer_close(tokenizer);
    return true;
}

/* What was accepted at opening can be read row by row. */
static inline bool fuzz_jsonl(const void *bytes, size_t size)
{
    struct cn_data *data;
    struct cn_arena arena = {0};
    struct cn_row row;
    const char *path = fuzz_file("x.jsonl", bytes, size);
    double weight = 1;
    if (fuzz_refused(cn_data_open(&path, &weight, 1, NULL, &data))) return false;
    for (size_t i = 0; i < cn_data_count(data); i++) {
        FUZZ_PROMISE(cn_data_row(data, i, &arena, &row) == CN_OK);
        FUZZ_PROMISE(row.messages.count || row.rendered.length);
        cn_arena_reset(&arena);
    }
    uint64_t index, epoch;
    FUZZ_PROMISE(cn_data_draw(data, 1, 12345, &index, &epoch) == CN_OK);
    FUZZ_PROMISE(index < cn_data_count(data));
    cn_data_close(data);
    cn_arena_free(&arena);
    return true;
}

/* A request to the reward service: the first byte chooses the protocol, the rest is the body.
 * Whatever is accepted can be framed, scored and answered, and every reply is JSON. */
static inline bool fuzz_service(const void *bytes, size_t size)
{
    static const char *const special[] = {"</s>"};
    const unsigned char *text = bytes;
    struct service_request *request;
    struct cn_arena arena = {0};
    struct cn_str frame = {0}, reply = {0};
    struct reply_counts counts;
    struct cn_json *root;
    if (!size) return false;
    const struct cn_text body = {(const char *)text + 1, size - 1};
    if (fuzz_refused(request_read(text[0] % SERVICE_FORM_COUNT, body, (struct cn_texts){special, 1},
                                  &request)))
        return false;
    for (size_t i = 0; i < request->n; i++) {
        struct service_item *item = &request->item[i];
        struct cn_service_result result = {.verdict = CN_VERDICT_WRONG, .has_score = true};
        struct cn_episode episode;
        if (item->error.length || i % 7 == 6) continue;
        const struct cn_text frame_body = {item->work.frame + FRAME_HEAD,
                                           item->work.length - FRAME_HEAD};
        FUZZ_PROMISE(frame_read_episode(frame_body, &arena, &episode) == CN_OK);
        result.extracted = episode.response;
        cn_str_clear(&frame);
        FUZZ_PROMISE(frame_result(&result, 1000, &frame) == CN_OK);
        FUZZ_PROMISE(request_settle(item, (struct cn_text){frame.data + FRAME_HEAD,
                                                           frame.length - FRAME_HEAD}) == CN_OK);
    }
    const struct reply_setup setup = {.rules = "0"};
    FUZZ_PROMISE(reply_write(request, &setup, &reply, &counts) == CN_OK);
    FUZZ_PROMISE(cn_json_parse(cn_str_text(&reply), "reply", &root) == CN_OK);
    cn_json_close(root);
    request_close(request);
    cn_arena_free(&arena);
    cn_str_free(&frame);
    cn_str_free(&reply);
    return true;
}

/* Bytes of a worker that somebody has taken over, and of a parent that is not ours. */
static inline bool fuzz_frame(const void *bytes, size_t size)
{
    struct cn_service_result result;
    struct cn_episode episode;
    struct cn_arena arena = {0};
    const struct cn_text body = {bytes, size};
    const bool read = !fuzz_refused(frame_read_result(body, &result));
    const bool asked = !fuzz_refused(frame_read_episode(body, &arena, &episode));
    if (read) FUZZ_PROMISE(result.verdict < CN_VERDICT_COUNT);
    if (asked) FUZZ_PROMISE(episode.stop < CN_STOP_COUNT);
    cn_arena_free(&arena);
    return read || asked;
}

/* The reward math on "policy, known answer, new line, reply": extraction, parser, comparison.  The
 * same input takes the same operations, within the budget; what is extracted stands in the reply.
 * Refused: the known answer cannot be graded. */
static inline bool fuzz_math(const void *bytes, size_t size)
{
    static const char *const policies[] = {
        "auto",      "boxed_last",  "gsm8k_hash", "answer_tag", "answer_line", "final_answer_is",
        "last_math", "last_number", "mcq",        "whole"};
    enum { N_POLICIES = sizeof policies / sizeof *policies, OPS_MAX = 22000 };
    const struct cn_reward *reward = cn_reward_find("math");
    struct cn_text all = {bytes, size};
    if (!size) return false;
    const char *end = memchr(all.data, '\n', size);
    size_t cut = end ? (size_t)(end - all.data) : size;
    struct cn_episode episode = {.ground_truth = {all.data + 1, cut ? cut - 1 : 0},
                                 .response = {all.data + cut, size - cut},
                                 .stop = CN_STOP_EOS};
    struct cn_arena arena = {0};
    struct cn_json *options = NULL, *policy = NULL;
    struct cn_outcome out = {0}, again = {0};
    void *settings;
    FUZZ_PROMISE(cn_json_new(CN_JSON_OBJECT, &options) == CN_OK);
    FUZZ_PROMISE(cn_json_new_text(cn_text(policies[(unsigned char)all.data[0] % N_POLICIES]),
                                  &policy) == CN_OK);
    FUZZ_PROMISE(cn_json_set(options, "policy", policy) == CN_OK);
    FUZZ_PROMISE(cn_arena_alloc(&arena, reward->settings_size, 1, &settings) == CN_OK);
    FUZZ_PROMISE(cn_option_read(reward->options, options, "x", NULL, &arena, settings) == CN_OK);
    bool absent = fuzz_refused(reward->score(settings, &episode, 1, &arena, &out));
    if (!absent) {
        FUZZ_PROMISE(reward->score(settings, &episode, 1, &arena, &again) == CN_OK);
        FUZZ_PROMISE(out.verdict == again.verdict && out.ops == again.ops && out.ops <= OPS_MAX);
        FUZZ_PROMISE(!out.extracted.length ||
                     (out.extracted.data >= episode.response.data &&
                      out.extracted.data + out.extracted.length <=
                          episode.response.data + episode.response.length));
    }
    cn_json_close(options);
    cn_arena_free(&arena);
    return absent || out.verdict != CN_VERDICT_BAD_GOLD;
}

/* Every other reward that reads a reply by itself, and the finder of programs, on "which, known
 * answer, new line, reply".  Refused: no reward judges it. */
static inline bool fuzz_answers(const void *bytes, size_t size)
{
    static const char *const entries[] = {
        "\"exact_answer\"",
        "{\"type\": \"exact_answer\", \"policy\": \"last_number\"}",
        "\"countdown\"",
        "{\"type\": \"match\", \"form\": \"f1\", \"answer\": \"tag\"}",
        "{\"type\": \"format\", \"style\": \"tags\"}",
        "{\"type\": \"repetition\", \"n\": 3}",
        "{\"type\": \"regex\", \"pattern\": \"^Answer: (.*)$\", \"group\": 1}",
        "{\"type\": \"terms\", \"where\": \"last\"}"};
    enum { N_ENTRIES = sizeof entries / sizeof *entries };
    static const char *const ours[] = {"type", NULL};
    const struct cn_text all = {bytes, size};
    if (!size) return false;
    const char *end = memchr(all.data, '\n', size);
    const size_t cut = end ? (size_t)(end - all.data) : size;
    const struct cn_episode episode = {.ground_truth = {all.data + 1, cut ? cut - 1 : 0},
                                       .response = {all.data + cut, size - cut},
                                       .stop = size % 5 ? CN_STOP_EOS : CN_STOP_LENGTH};
    const struct code_found program = code_find(episode.response, size % 2);
    FUZZ_PROMISE(program.text.length <= episode.response.length);
    struct cn_json *node;
    struct cn_arena arena = {0};
    struct cn_reward_entry entry;
    struct cn_outcome out = {0};
    FUZZ_PROMISE(cn_json_parse(cn_text(entries[(unsigned char)all.data[0] % N_ENTRIES]), "x",
                               &node) == CN_OK);
    FUZZ_PROMISE(cn_reward_open(node, "x", ours, &arena, &entry) == CN_OK);
    const bool refused = fuzz_refused(cn_reward_score(&entry, &episode, 1, &arena, &out));
    FUZZ_PROMISE(refused || (out.verdict < CN_VERDICT_COUNT && out.score == out.score));
    cn_reward_close(&entry);
    cn_json_close(node);
    cn_arena_free(&arena);
    return !refused && out.verdict != CN_VERDICT_BAD_GOLD && out.verdict != CN_VERDICT_NO_ANSWER;
}

/* The readers and the names of their corpora. */
#define FUZZ_TARGETS(X)                                                                            \
    X(json) X(safetensors) X(gguf) X(tokenizer) X(jsonl) X(service) X(frame) X(math) X(answers)

/* The body of a libFuzzer program. */
#define FUZZ_MAIN(name)                                                                            \
    int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);                                 \
    int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)                                  \
    {                                                                                              \
        static bool first = true;                                                                  \
        if (first) atexit(fuzz_clean);                                                             \
        first = false;                                                                             \
        fuzz_##name(bytes, size);                                                                  \
        return 0;                                                                                  \
    }

#endif
