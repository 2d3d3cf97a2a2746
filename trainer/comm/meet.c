/* Ranks meet before each collective, and what is said when one does something else, has failed, or
 * does not come.
 *
 * Each collective begins with one maximum over three words: a hash of what this rank is about to
 * do, its complement, and whether it has failed.  Maxima of a hash and its complement are
 * complements only if all hashes are equal, so every rank learns of a difference in the same call,
 * and all then exchange reports.  That call is always the same, so ranks always meet in it. */
#include "front.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { LOG_TAIL = 600 };
static const double listen_s = 2, leave_s = 8;

enum cn_status comm_fail_again(const struct cn_comm *c)
{
    cn_fail_clear();
    return cn_fail(c->failed, "%s", c->message);
}

enum cn_status comm_remember(struct cn_comm *c, enum cn_status status, const char *message)
{
    size_t n = strlen(message);
    if (n >= sizeof c->message) n = sizeof c->message - 1;
    c->failed = status;
    memmove(c->message, message, n);
    c->message[n] = 0;
    return comm_fail_again(c);
}

enum cn_status comm_give_up(struct cn_comm *c, enum cn_status status, const char *message)
{
    c->gone = true;
    comm_remember(c, status, message);
    if (c->whole == c) return status;
    c->whole->gone = true;
    return comm_remember(c->whole, status, c->message);
}

/* ---- a wait that takes too long ------------------------------------------ */

static void describe(const struct place *p, char *out, size_t size)
{
    snprintf(out, size,
             "collective %" PRIu64 " (%s of %s, %" PRIu64 " bytes; step %" PRIu64 ", %s)%s%s",
             p->sequence, p->kind, p->what, p->bytes, p->step, p->phase, p->part[0] ? " of " : "",
             p->part);
}

/* Takes letters that have come, and answers the first with one of its own. */
static void correspond(struct cn_comm *c)
{
    struct cn_comm *all = c->whole;
    struct place letter;
    while (all->backend->hear(all->self, &letter, sizeof letter)) {
        if (letter.rank >= 0 && letter.rank < all->facts.size) all->known[letter.rank] = letter;
        if (all->told) continue;
        all->told = true;
        all->letter = c->place;
        all->backend->tell(all->self, &all->letter, sizeof all->letter);
    }
}

static void append(char *out, size_t size, const char *text)
{
    size_t n = strlen(out);
    if (n < size) snprintf(out + n, size - n, "%s", text);
}

/* The last lines of a rank's log, each behind "  | ". */
static void last_words(const struct cn_comm *c, int rank, char *out, size_t size)
{
    char path[4096], text[LOG_TAIL + 1], line[LOG_TAIL + 64];
    snprintf(path, sizeof path, "%s/rank_%04d.log", c->whole->logs, rank);
    FILE *file = fopen(path, "r");
    if (!file) return;
    fseek(file, 0, SEEK_END);
    long length = ftell(file);
    fseek(file, length > LOG_TAIL ? length - LOG_TAIL : 0, SEEK_SET);
    size_t n = fread(text, 1, LOG_TAIL, file);
    fclose(file);
    text[n] = 0;
    char *at = length > LOG_TAIL ? strchr(text, '\n') : text, *rest = NULL;
    for (char *part = at ? strtok_r(at, "\n", &rest) : NULL; part;
         part = strtok_r(NULL, "\n", &rest)) {
        snprintf(line, sizeof line, "\n  | %s", part);
        append(out, size, line);
    }
}

/* Ranks that are not where this one waits. */
struct absence {
    int n_silent, n_elsewhere; /* nothing was heard of them; they wait in another part */
    int silent, elsewhere;     /* the first of each */
    char names[512];           /* of the silent */
};

static void find_absent(const struct cn_comm *c, struct absence *out)
{
    char one[32];
    memset(out, 0, sizeof *out);
    for (int i = 0; i < c->facts.size; i++) {
        const int r = c->member[i];
        const struct place *known = &c->whole->known[r];
        if (i == c->facts.rank) continue;
        if (!known->sequence) {
            snprintf(one, sizeof one, "%s%d", out->n_silent ? ", " : "", r);
            append(out->names, sizeof out->names, one);
            if (!out->n_silent++) out->silent = r;
        } else if (strcmp(known->part, c->place.part) != 0) {
            if (!out->n_elsewhere++) out->elsewhere = r;
        }
    }
}

/* Names who waits where and who is missing. */
static enum cn_status too_long(struct cn_comm *c)
{
    char text[MESSAGE * 2] = "", here[320], one[400];
    struct absence absent;
    find_absent(c, &absent);
    describe(&c->place, here, sizeof here);
    if (absent.n_silent)
        snprintf(text, sizeof text,
                 "rank%s %s did not come to %s within %g s (parallel.timeout_s); %d of %d ranks "
                 "wait there",
                 absent.n_silent > 1 ? "s" : "", absent.names, here, c->settings.timeout_s,
                 c->facts.size - absent.n_silent - absent.n_elsewhere, c->facts.size);
    else
        snprintf(text, sizeof text, "%s did not end within %g s although every rank %s", here,
                 c->settings.timeout_s,
                 absent.n_elsewhere ? "waits" : "takes part: the network between them?");
    if (absent.n_elsewhere) {
        describe(&c->whole->known[absent.elsewhere], here, sizeof here);
        snprintf(one, sizeof one, "; rank %d waits in %s", absent.elsewhere, here);
        append(text, sizeof text, one);
    }
    if (absent.n_silent && c->whole->logs) {
        snprintf(one, sizeof one, "; last lines of rank %d's log:", absent.silent);
        append(text, sizeof text, one);
        last_words(c, absent.silent, text, sizeof text);
    }
    return comm_give_up(c, CN_ERR_COMM, text);
}

/* Tells everybody, listens, and leaves the word to the first rank that waited as long. */
static enum cn_status time_out(struct cn_comm *c)
{
    const struct timespec pause = {0, 10000000};
    struct cn_comm *all = c->whole;
    all->told = true;
    all->letter = c->place;
    all->letter.timed_out = 1;
    all->backend->tell(all->self, &all->letter, sizeof all->letter);
    double until = comm_seconds() + listen_s;
    while (comm_seconds() < until) {
        correspond(c);
        nanosleep(&pause, NULL);
    }
    for (int r = 0; r < all->facts.rank; r++)
        if (all->known[r].timed_out) until = comm_seconds() + listen_s;
    while (comm_seconds() < until) /* that rank ends this one */
        nanosleep(&pause, NULL);
    return too_long(c);
}

enum cn_status comm_tick(void *self)
{
    struct cn_comm *c = self;
    const double waited = comm_seconds() - c->began;
    correspond(c);
    if (waited > leave_s && c->settings.leave && c->settings.leave()) {
        char here[320], text[400];
        describe(&c->place, here, sizeof here);
        snprintf(text, sizeof text, "stopped while waiting in %s", here);
        return comm_give_up(c, CN_STOPPED, text);
    }
    if (c->settings.timeout_s > 0 && waited > c->settings.timeout_s) return time_out(c);
    return CN_OK;
}

/* ---- meeting ------------------------------------------------------------- */

static uint64_t mix(uint64_t hash, const void *bytes, size_t n)
{
    const unsigned char *b = bytes; /* FNV-1a */
    for (size_t i = 0; i < n; i++)
        hash = (hash ^ b[i]) * 0x100000001b3u;
    return hash;
}

static uint64_t hash_of(const struct place *p)
{
    uint64_t hash = 0xcbf29ce484222325u;
    hash = mix(hash, &p->sequence, sizeof p->sequence);
    hash = mix(hash, &p->bytes, sizeof p->bytes);
    hash = mix(hash, p->kind, strlen(p->kind));
    return mix(hash, p->what, strlen(p->what));
}

/* Everybody's reports; the same on every rank. */
static enum cn_status exchange(struct cn_comm *c, enum cn_status status, struct report **out)
{
    const size_t n = (size_t)c->facts.size;
    struct report *reports = calloc(n, sizeof *reports);
    size_t *start = calloc(n + 1, sizeof *start);
    if (!reports || !start) {
        free(reports);
        free(start);
        return comm_give_up(c, CN_ERR_MEMORY, "out of memory: reports of the ranks");
    }
    for (size_t r = 0; r <= n; r++)
        start[r] = r * sizeof *reports;
    struct report *own = &reports[c->facts.rank];
    own->place = c->place;
    own->code = (int32_t)status;
    if (status != CN_OK) snprintf(own->message, sizeof own->message, "%s", cn_fail_message());
    const struct cn_comm_data data = {"reports", CN_DTYPE_U8, reports, n * sizeof *reports};
    enum cn_status result = c->backend->gather(c->self, &data, start);
    free(start);
    if (result == CN_OK)
        *out = reports;
    else
        free(reports);
    return result;
}

/* The first failure; its rank is named unless all say the same, or a part has named it. */
static enum cn_status first_failure(struct cn_comm *c, const struct report *reports)
{
    int first = 0, same = 0;
    char text[MESSAGE + 32];
    while (reports[first].code == CN_OK)
        first++;
    for (int r = 0; r < c->facts.size; r++)
        same += strcmp(reports[r].message, reports[first].message) == 0;
    if (same == c->facts.size || strncmp(reports[first].message, "rank ", 5) == 0)
        snprintf(text, sizeof text, "%s", reports[first].message);
    else
        snprintf(text, sizeof text, "rank %d: %s", c->member[first], reports[first].message);
    return comm_remember(c, (enum cn_status)reports[first].code, text);
}

/* Ranks are in different calls: the majority's first, then those that are elsewhere. */
static enum cn_status different(struct cn_comm *c, const struct report *reports)
{
    char text[MESSAGE] = "", here[320], one[400];
    int usual = 0, most = 0, named = 0;
    for (int r = 0; r < c->facts.size; r++) {
        int same = 0;
        for (int k = 0; k < c->facts.size; k++)
            same += hash_of(&reports[k].place) == hash_of(&reports[r].place);
        if (same > most) {
            most = same;
            usual = r;
        }
    }
    describe(&reports[usual].place, here, sizeof here);
    snprintf(text, sizeof text, "ranks do different things: rank %d%s is in %s", c->member[usual],
             most > 1 ? " (and others)" : "", here);
    for (int r = 0; r < c->facts.size && named < 3; r++) {
        if (hash_of(&reports[r].place) == hash_of(&reports[usual].place)) continue;
        describe(&reports[r].place, here, sizeof here);
        snprintf(one, sizeof one, "; rank %d in %s", c->member[r], here);
        append(text, sizeof text, one);
        named++;
    }
    return comm_remember(c, CN_ERR_COMM, text);
}

/* Compares what all are about to do, and learns of failures. */
enum cn_status comm_meet(struct cn_comm *c, enum cn_status status)
{
    const uint64_t hash = hash_of(&c->place);
    uint64_t words[3] = {hash, ~hash, (uint64_t)status};
    const struct cn_comm_data data = {"meeting", CN_DTYPE_U64, words, 3};
    struct report *reports = NULL;
    c->began = comm_seconds();
    enum cn_status result = c->backend->maximum(c->self, &data, true);
    c->cost.wait_s += comm_seconds() - c->began;
    if (result == CN_OK && words[0] == hash && words[1] == ~hash && !words[2]) return CN_OK;
    if (result == CN_OK) result = exchange(c, status, &reports);
    if (result != CN_OK) {
        return c->failed == CN_OK ? comm_give_up(c, result, cn_fail_message()) : result;
    }
    result = words[2] ? first_failure(c, reports) : different(c, reports);
    free(reports);
    return result;
}
