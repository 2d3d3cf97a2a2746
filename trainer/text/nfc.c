/* Unicode normalisation form C as Hugging Face's normaliser knows it: a quick check for what most
 * text consists of, utf8proc for the rest.
 *
 * Hugging Face's tables are those of Unicode 9: marks that came later stand where they are and join
 * nothing.  utf8proc knows them, so the text is cut at them and only what lies between is
 * normalised. */
#include "nfc.h"

#include "utf8.h"

#include <stdlib.h>
#include <string.h>
#include <utf8proc.h>

/* Marks with a combining class and parts of composed characters, first assigned in Unicode 10
 * to 16. Up to 14 found by comparing tokenizers 0.23 with Unicode's own form over all code points,
 * the rest from the list of marks that PCRE2 10.42 lacks (tests/data/make_tokenizer.py). */
static const uint32_t later[][2] = {
    {0x7FD, 0x7FD},     {0x897, 0x89F},     {0x8CA, 0x8D3},     {0x9FE, 0x9FE},
    {0xC3C, 0xC3C},     {0xD3B, 0xD3C},     {0xEBA, 0xEBA},     {0xECE, 0xECE},
    {0x11A7, 0x11A7},   {0x1715, 0x1715},   {0x1ABF, 0x1ACE},   {0x1DF6, 0x1DFA},
    {0xA82C, 0xA82C},   {0x105C0, 0x105F3}, {0x10D24, 0x10D27}, {0x10D69, 0x10D6D},
    {0x10EAB, 0x10EAC}, {0x10EFC, 0x10EFF}, {0x10F46, 0x10F50}, {0x10F82, 0x10F85},
    {0x11070, 0x11070}, {0x1133B, 0x1133B}, {0x11380, 0x113E2}, {0x1145E, 0x1145E},
    {0x11839, 0x1183A}, {0x11930, 0x11930}, {0x11938, 0x11938}, {0x1193D, 0x1193E},
    {0x11943, 0x11943}, {0x119E0, 0x119E0}, {0x11A34, 0x11A34}, {0x11A47, 0x11A47},
    {0x11A99, 0x11A99}, {0x11D42, 0x11D42}, {0x11D44, 0x11D45}, {0x11D97, 0x11D97},
    {0x11F41, 0x11F42}, {0x16100, 0x1612F}, {0x16D40, 0x16D6C}, {0x16FF0, 0x16FF1},
    {0x1E08F, 0x1E08F}, {0x1E130, 0x1E136}, {0x1E2AE, 0x1E2AE}, {0x1E2EC, 0x1E2EF},
    {0x1E4EC, 0x1E4EF}, {0x1E5EE, 0x1E5EF}};

static bool is_later(uint32_t code)
{
    size_t low = 0, high = sizeof later / sizeof *later;
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (later[middle][1] < code)
            low = middle + 1;
        else
            high = middle;
    }
    return low < sizeof later / sizeof *later && later[low][0] <= code;
}

/* Blocks of characters that NFC never changes, whatever stands beside them in such text: they are
 * starters, do not decompose for good, and none of them joins the character before it (Unicode
 * Standard Annex 15, section 9). */
static bool is_inert(uint32_t code)
{
    return code < 0x300 || (code >= 0x400 && code <= 0x482) || (code >= 0x2010 && code <= 0x205E) ||
           (code >= 0x2190 && code <= 0x2328) || (code >= 0x3000 && code <= 0x3029) ||
           (code >= 0x3041 && code <= 0x3096) || (code >= 0x30A0 && code <= 0x30FF) ||
           (code >= 0x4E00 && code <= 0x9FFF) || (code >= 0xAC00 && code <= 0xD7A3) ||
           (code >= 0xFF01 && code <= 0xFF5E) || (code >= 0x1F300 && code <= 0x1F6FF);
}

/* The first character that is not inert, `end` if there is none; *before: the inert one before it,
 * or itself. */
static const char *first_active(const char *p, const char *end, const char **before)
{
    *before = p;
    while (p < end) {
        uint64_t word;
        if (end - p >= 8 && (memcpy(&word, p, 8), !(word & 0x8080808080808080u))) {
            p += 8;
            *before = p - 1;
            continue;
        }
        uint32_t code;
        size_t length = utf8_step(p, end, &code);
        if (!is_inert(code)) return p;
        *before = p;
        p += length;
    }
    return end;
}

static const char *first_inert(const char *p, const char *end)
{
    while (p < end) {
        uint32_t code;
        size_t length = utf8_step(p, end, &code);
        if (is_inert(code)) return p;
        p += length;
    }
    return end;
}

static enum cn_status append_normal(struct cn_text text, struct cn_str *out)
{
    if (text.length == 0) return CN_OK;
    utf8proc_uint8_t *mapped = NULL;
    utf8proc_ssize_t length =
        utf8proc_map((const utf8proc_uint8_t *)text.data, (utf8proc_ssize_t)text.length, &mapped,
                     UTF8PROC_STABLE | UTF8PROC_COMPOSE);
    if (length < 0)
        return cn_fail(CN_ERR_MEMORY, "cannot normalise %zu bytes: %s", text.length,
                       utf8proc_errmsg(length));
    enum cn_status status = cn_str_append(out, (const char *)mapped, (size_t)length);
    free(mapped);
    return status;
}

/* A stretch that NFC may change, cut at the marks that Hugging Face does not know. */
static enum cn_status append_stretch(struct cn_text text, struct cn_str *out)
{
    const char *p = text.data, *done = p, *end = p + text.length;
    while (p < end) {
        uint32_t code;
        const char *next = p + utf8_step(p, end, &code);
        if (is_later(code)) {
            CN_TRY(append_normal((struct cn_text){done, (size_t)(p - done)}, out));
            CN_TRY(cn_str_append(out, p, (size_t)(next - p)));
            done = next;
        }
        p = next;
    }
    return append_normal((struct cn_text){done, (size_t)(end - done)}, out);
}

enum cn_status nfc_apply(struct cn_text text, struct cn_str *buffer, struct cn_text *out)
{
    const char *end = text.data + text.length, *before, *done = text.data;
    const char *active = first_active(done, end, &before);
    if (active == end) {
        *out = text;
        return CN_OK;
    }
    cn_str_clear(buffer);
    while (active < end) {
        const char *stop = first_inert(active, end);
        CN_TRY(cn_str_append(buffer, done, (size_t)(before - done)));
        CN_TRY(append_stretch((struct cn_text){before, (size_t)(stop - before)}, buffer));
        done = stop;
        active = first_active(done, end, &before);
    }
    CN_TRY(cn_str_append(buffer, done, (size_t)(end - done)));
    *out = cn_str_text(buffer);
    return CN_OK;
}
