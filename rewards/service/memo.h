/* Results that are known already, by a keyed hash of all that the rewards see.
 *
 * An entry is `pending` while its answer is being scored, so that the same answer a second time
 * waits instead of being scored twice; then it holds the result.  The oldest result of a set of
 * four makes room. */
#ifndef CARNOT_SERVICE_MEMO_H
#define CARNOT_SERVICE_MEMO_H

#include "carnot/str.h"

enum { MEMO_RESULT_MAX = 1024 }; /* bytes; longer results are not kept */

struct memo_key {
    uint64_t word[2];
};

struct service_item;

struct memo_entry {
    struct memo_key key;
    char *result; /* NULL while pending */
    uint32_t length;
    bool used, pending;
    uint64_t stamp;
    struct service_item *waiting; /* the desk's, while pending */
};

struct memo {
    struct memo_entry *entry; /* sets of four; NULL: nothing is kept */
    size_t n_sets;
    uint64_t stamp, secret[2];
};

/* entries 0: no cache.  Fails: CN_ERR_MEMORY, CN_ERR_IO (no randomness). */
enum cn_status memo_open(size_t entries, struct memo *out);
void memo_close(struct memo *memo);

struct memo_key memo_hash(const struct memo *memo, struct cn_text text);

/* The entry of that key, pending or known; NULL: not there. */
struct memo_entry *memo_find(struct memo *memo, struct memo_key key);

/* A new pending entry; NULL if its set is full of pending ones. */
struct memo_entry *memo_reserve(struct memo *memo, struct memo_key key);

/* Ends pending: keeps the result, or forgets the entry (result.length 0, or too long). */
void memo_settle(struct memo_entry *entry, struct cn_text result);

/* SipHash-2-4 with 128 bits out.  Aumasson and Bernstein 2012, "SipHash: a fast short-input PRF".
 */
struct memo_key memo_siphash(const uint64_t secret[2], struct cn_text text);

#endif
