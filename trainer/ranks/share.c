/* Dividing over ranks.  Variable parts (token ids, texts, names) travel as one run of bytes per
 * rank, whose length is told first. */
#include "share.h"

#include <string.h>
#include <time.h>

void share_cut(const size_t *cost, size_t n, int ranks, size_t *start)
{
    double total = 0, before = 0;
    int r = 1;
    for (size_t i = 0; i < n; i++)
        total += cost ? (double)cost[i] : 1;
    start[0] = 0;
    for (size_t i = 0; i < n; i++) {
        const double own = cost ? (double)cost[i] : 1;
        /* An item belongs to the share in which its middle lies. */
        while (r < ranks && before + own / 2 >= total * r / ranks)
            start[r++] = i;
        before += own;
    }
    while (r <= ranks)
        start[r++] = n;
}

enum cn_status share_among(const struct cn_comm *comm, const size_t *cost, size_t n,
                           struct cn_arena *arena, const size_t **out)
{
    const int ranks = cn_comm_size(comm);
    size_t *start;
    CN_TRY(CN_NEW(arena, (size_t)ranks + 1, &start));
    share_cut(cost, n, ranks, start);
    *out = start;
    return CN_OK;
}

/* ---- atoms --------------------------------------------------------------- */

/* Tokens that an atom computes: a prompt that a group shares counts once. */
static size_t atom_cost(const struct cn_batch *batch, struct cn_span atom)
{
    size_t cost = 0;
    for (size_t s = atom.begin; s < atom.end; s++) {
        const bool first = s == atom.begin || batch->group[s] != batch->group[s - 1];
        for (size_t t = batch->seq_start[s]; t < batch->seq_start[s + 1]; t++)
            cost += first || batch->role[t] != CN_ROLE_PROMPT;
    }
    return cost;
}

enum cn_status share_atoms(const struct cn_comm *comm, const struct cn_batch *batch,
                           const struct cn_spans *atoms, struct cn_arena *arena,
                           struct share_atoms *out)
{
    const size_t ranks = (size_t)cn_comm_size(comm), rank = (size_t)cn_comm_rank(comm),
                 n = atoms->count;
    const size_t *start;
    size_t *cost, *token;
    CN_TRY(CN_NEW(arena, n, &cost));
    CN_TRY(CN_NEW(arena, ranks + 1, &token));
    for (size_t a = 0; a < n; a++)
        cost[a] = atom_cost(batch, atoms->item[a]);
    CN_TRY(share_among(comm, cost, n, arena, &start));
    out->first = n ? batch->seq_start[atoms->item[0].begin] : 0;
    for (size_t r = 0; r <= ranks && n; r++)
        token[r] = (start[r] < n ? batch->seq_start[atoms->item[start[r]].begin]
                                 : batch->seq_start[atoms->item[n - 1].end]) -
                   out->first;
    out->token = token;
    out->own = (struct cn_spans){atoms->item + start[rank], start[rank + 1] - start[rank]};
    return CN_OK;
}

enum cn_status share_column(struct cn_comm *comm, const struct share_atoms *atoms, double *column)
{
    if (!column) return CN_OK;
    const struct cn_comm_data data = {"a column", CN_DTYPE_F64, column + atoms->first,
                                      atoms->token[cn_comm_size(comm)]};
    return cn_comm_gather(comm, &data, atoms->token);
}

/* ---- runs of bytes ------------------------------------------------------- */

/* Bytes of every rank, end to end; rank r's are [start[r], start[r+1]). */
struct parcel {
    unsigned char *bytes;
    size_t *start;
    size_t at; /* where the next piece is read or written */
};

/* Room for every rank's bytes, of which this one has `own`; they are written at `at` next. */
static enum cn_status open_parcel(struct cn_comm *comm, size_t own, struct cn_arena *arena,
                                  struct parcel *out)
{
    const size_t ranks = (size_t)cn_comm_size(comm), rank = (size_t)cn_comm_rank(comm);
    uint64_t *length;
    size_t *each;
    CN_TRY(CN_NEW(arena, ranks, &length));
    CN_TRY(CN_NEW(arena, ranks + 1, &each));
    CN_TRY(CN_NEW(arena, ranks + 1, &out->start));
    for (size_t r = 0; r <= ranks; r++)
        each[r] = r;
    length[rank] = own;
    const struct cn_comm_data lengths = {"lengths", CN_DTYPE_U64, length, ranks};
    CN_TRY(cn_comm_gather(comm, &lengths, each));
    for (size_t r = 0; r < ranks; r++)
        out->start[r + 1] = out->start[r] + length[r];
    out->at = out->start[rank];
    return cn_arena_alloc_raw(arena, out->start[ranks] + 1, 1, &out->bytes);
}

static void put(struct parcel *p, const void *data, size_t bytes)
{
    if (bytes) memcpy(p->bytes + p->at, data, bytes);
    p->at += bytes;
}

static void take(struct parcel *p, void *data, size_t bytes)
{
    if (bytes) memcpy(data, p->bytes + p->at, bytes);
    p->at += bytes;
}

static enum cn_status send(struct cn_comm *comm, const struct parcel *p, const char *what)
{
    const struct cn_comm_data data = {what, CN_DTYPE_U8, p->bytes, p->start[cn_comm_size(comm)]};
    return cn_comm_gather(comm, &data, p->start);
}

/* ---- answers ------------------------------------------------------------- */

/* What is told about an answer before its arrays. */
struct answer_head {
    uint64_t n, text;
    int64_t stop;
};

static size_t answer_bytes(const struct answer *a)
{
    return sizeof(struct answer_head) + a->n * (sizeof *a->ids + 2 * sizeof(double)) +
           a->text.length;
}

static void put_answer(struct parcel *p, const struct answer *a)
{
    const struct answer_head head = {a->n, a->text.length, a->stop};
    put(p, &head, sizeof head);
    put(p, a->ids, a->n * sizeof *a->ids);
    put(p, a->logp, a->n * sizeof *a->logp);
    put(p, a->entropy, a->n * sizeof *a->entropy);
    put(p, a->text.data, a->text.length);
}

static enum cn_status take_text(struct parcel *p, size_t length, struct cn_arena *arena,
                                struct cn_text *out)
{
    char *text;
    CN_TRY(cn_arena_text(arena, (const char *)p->bytes + p->at, length, &text));
    p->at += length;
    *out = (struct cn_text){text, length};
    return CN_OK;
}

static enum cn_status take_answer(struct parcel *p, struct cn_arena *arena, struct answer *a)
{
    struct answer_head head;
    take(p, &head, sizeof head);
    *a = (struct answer){.n = head.n, .stop = (enum cn_stop)head.stop};
    CN_TRY(CN_NEW(arena, a->n, &a->ids));
    CN_TRY(CN_NEW(arena, a->n, &a->logp));
    CN_TRY(CN_NEW(arena, a->n, &a->entropy));
    take(p, a->ids, a->n * sizeof *a->ids);
    take(p, a->logp, a->n * sizeof *a->logp);
    take(p, a->entropy, a->n * sizeof *a->entropy);
    return take_text(p, head.text, arena, &a->text);
}

/* Whose answers travel: own (n) says which are this rank's. */
struct owned {
    const bool *own;
    size_t n;
};

/* Each answer travels behind its place: who answers what, the others need not know before. */
static enum cn_status exchange_answers(struct cn_comm *comm, struct answer *answers,
                                       const struct owned *o, struct cn_arena *arena)
{
    const int ranks = cn_comm_size(comm), rank = cn_comm_rank(comm);
    struct parcel p;
    size_t bytes = 0, i;
    for (i = 0; i < o->n; i++)
        if (o->own[i]) bytes += sizeof i + answer_bytes(&answers[i]);
    CN_TRY(open_parcel(comm, bytes, arena, &p));
    for (i = 0; i < o->n; i++) {
        if (!o->own[i]) continue;
        put(&p, &i, sizeof i);
        put_answer(&p, &answers[i]);
    }
    CN_TRY(send(comm, &p, "answers"));
    for (int r = 0; r < ranks; r++)
        for (p.at = p.start[r]; r != rank && p.at < p.start[r + 1];) {
            take(&p, &i, sizeof i);
            CN_TRY(take_answer(&p, arena, &answers[i]));
        }
    return CN_OK;
}

/* ---- scores -------------------------------------------------------------- */

static enum cn_status exchange_scored(struct cn_comm *comm, struct scored *scored,
                                      const struct owned *o, struct cn_arena *arena)
{
    const int ranks = cn_comm_size(comm), rank = cn_comm_rank(comm);
    struct parcel p;
    size_t bytes = 0, i;
    for (i = 0; i < o->n; i++)
        if (o->own[i]) bytes += sizeof i + sizeof *scored + scored[i].extracted.length;
    CN_TRY(open_parcel(comm, bytes, arena, &p));
    for (i = 0; i < o->n; i++) {
        if (!o->own[i]) continue;
        put(&p, &i, sizeof i);
        put(&p, &scored[i], sizeof *scored);
        put(&p, scored[i].extracted.data, scored[i].extracted.length);
    }
    CN_TRY(send(comm, &p, "scores"));
    for (int r = 0; r < ranks; r++)
        for (p.at = p.start[r]; r != rank && p.at < p.start[r + 1];) {
            take(&p, &i, sizeof i);
            take(&p, &scored[i], sizeof *scored);
            CN_TRY(take_text(&p, scored[i].extracted.length, arena, &scored[i].extracted));
        }
    return CN_OK;
}

/* ---- a round ----------------------------------------------------------------------------------
 *
 *     wishes   0 ........ share of rank 0 | share of rank 1 | piece 0 | piece 1 | ... | piece m - 1
 *
 * The shares are half of the round.  A rank whose own share runs low takes the next piece, so what
 * a slow rank has no time for is done by the others, down to half of what it would be asked for. */

enum { PIECES = 8 }; /* a piece is an equal share's eighth: the last one is waited for */

struct division {
    struct share_round *round;
    const struct wish *wishes;
    size_t n, queued, piece; /* wishes; those before the pieces; wishes of a piece */
    const size_t *start;     /* (ranks + 1) the shares */
    bool *own;               /* (n) this rank answers it */
    struct cn_comm_queue queue;
};

/* The border at or behind i, of groups if a reward must see whole ones. */
static size_t border(const struct division *d, size_t i)
{
    const bool groups = scorer_scope(d->round->scorer) == CN_SCOPE_GROUP;
    while (groups && i > 0 && i < d->n && d->wishes[i].group == d->wishes[i - 1].group)
        i++;
    return i < d->n ? i : d->n;
}

static enum cn_status divide(struct share_round *r, struct division *d)
{
    struct cn_arena *arena = r->wishes->arena;
    const size_t ranks = (size_t)cn_comm_size(r->comm), first = (size_t)r->first,
                 samplers = ranks - first, n = r->wishes->count - r->begin;
    size_t *cost, *start, halves[3];
    *d = (struct division){
        .round = r, .wishes = r->wishes->item + r->begin, .n = n, .queued = n, .piece = n};
    CN_TRY(CN_NEW(arena, n, &cost));
    CN_TRY(CN_NEW(arena, ranks + 1, &start));
    CN_TRY(CN_NEW(arena, n, &d->own));
    for (size_t i = 0; i < n; i++)
        cost[i] = d->wishes[i].posed->n_ids + r->options->max_tokens;
    if (samplers > 1) CN_TRY(cn_comm_queue(r->comm, &d->queue));
    if (samplers > 1 && !d->queue.absent) {
        share_cut(cost, n, 2, halves);
        d->queued = border(d, halves[1]);
        d->piece = n / samplers / PIECES ? n / samplers / PIECES : 1;
    }
    share_cut(cost, d->queued, (int)samplers, start + first);
    for (size_t k = first + 1; k < ranks; k++)
        start[k] = border(d, start[k]);
    d->start = start;
    return CN_OK;
}

static void keep(struct division *d, struct cn_span span)
{
    for (size_t i = span.begin; i < span.end; i++)
        d->own[i] = true;
}

/* The next piece that has wishes: of pieces within a group, the first has the group. */
static enum cn_status take_piece(void *self, struct cn_span *out)
{
    struct division *d = self;
    uint64_t item;
    do {
        CN_TRY(cn_comm_take(d->round->comm, &d->queue, &item));
        if (item >= d->n) item = d->n; /* far behind the last: no overflow below */
        out->begin = border(d, d->queued + item * d->piece);
        out->end = border(d, d->queued + (item + 1) * d->piece);
    } while (out->begin == out->end && out->begin < d->n);
    keep(d, *out);
    return CN_OK;
}

/* After each token: takes of other ranks go on. */
static void progress(void *self, size_t finished, size_t wishes)
{
    const struct share_round *r = ((const struct division *)self)->round;
    const struct timespec pause = {0, 20000000};
    cn_comm_progress(r->comm);
    if (r->slow) nanosleep(&pause, NULL);
    if (r->options->progress) r->options->progress(r->options->progress_self, finished, wishes);
}

/* Samples this rank's wishes, if it is one of those that sample; the scorer is told of finished
 * answers if it has begun. */
static enum cn_status sample_own(struct division *d, bool scores)
{
    const struct share_round *r = d->round;
    const int rank = cn_comm_rank(r->comm);
    const struct cn_span share = {d->start[rank], d->start[rank + 1]};
    struct rollout_options options = *r->options;
    if (rank < r->first) return CN_OK; /* it may have no sampler */
    keep(d, share);
    options.progress = progress;
    options.progress_self = d;
    options.more = d->queued < d->n ? take_piece : NULL;
    options.more_self = d;
    options.finished = scores ? scorer_add : NULL;
    options.finished_self = r->scorer;
    return rollout_collect(&options, d->wishes, share, r->wishes->arena, r->answers);
}

/* Scores the wishes of `own` (NULL: all); sampling them, if asked for, goes on meanwhile. */
static enum cn_status score(struct division *d, bool samples, const bool *own,
                            struct cn_metrics *metrics)
{
    struct share_round *r = d->round;
    const struct scoring_work work = {.wishes = d->wishes,
                                      .answers = r->answers,
                                      .n = d->n,
                                      .max_tokens = r->options->max_tokens,
                                      .own = own};
    CN_TRY(scorer_begin(r->scorer, &work));
    enum cn_status status = samples ? sample_own(d, true) : CN_OK;
    if (status == CN_OK)
        status = scorer_finish(r->scorer, r->wishes->arena, metrics, r->scored, &r->times);
    scorer_abandon(r->scorer);
    return status;
}

/* The largest part of the answers that one rank sampled. */
static enum cn_status measure_shares(struct share_round *r, const struct owned *o)
{
    double most = 0;
    for (size_t i = 0; i < o->n; i++)
        most += o->own[i];
    const struct cn_comm_data data = {"shares", CN_DTYPE_F64, &most, 1};
    if (!r->metrics || o->n == 0) return CN_OK;
    CN_TRY(cn_comm_max(r->comm, &data));
    return cn_metrics_mean(r->metrics, "perf/largest_share", most / (double)o->n);
}

enum cn_status share_answering(struct share_round *r)
{
    struct cn_arena *arena = r->wishes->arena;
    struct cn_metrics own;
    struct division d;
    CN_TRY(divide(r, &d));
    if (cn_comm_size(r->comm) == 1) return score(&d, true, NULL, r->metrics);
    const struct owned o = {d.own, d.n};
    if (scorer_scope(r->scorer) == CN_SCOPE_STEP) {
        CN_TRY(sample_own(&d, false));
        CN_TRY(exchange_answers(r->comm, r->answers, &o, arena));
        CN_TRY(score(&d, false, NULL, r->metrics));
        return measure_shares(r, &o);
    }
    cn_metrics_init(&own, arena);
    CN_TRY(score(&d, true, d.own, r->metrics ? &own : NULL));
    CN_TRY(exchange_answers(r->comm, r->answers, &o, arena));
    CN_TRY(exchange_scored(r->comm, r->scored, &o, arena));
    CN_TRY(measure_shares(r, &o));
    return r->metrics ? share_metrics(r->comm, &own, arena, r->metrics) : CN_OK;
}

/* ---- metrics ------------------------------------------------------------- */

struct metric_head {
    uint64_t name;
    int64_t kind;
    double value;
};

enum cn_status share_metrics(struct cn_comm *comm, const struct cn_metrics *own,
                             struct cn_arena *arena, struct cn_metrics *all)
{
    const int ranks = cn_comm_size(comm);
    struct parcel p;
    size_t bytes = 0;
    for (size_t i = 0; ranks == 1 && i < own->count; i++)
        CN_TRY(cn_metrics_add(all, &own->item[i]));
    if (ranks == 1) return CN_OK;
    for (size_t i = 0; i < own->count; i++)
        bytes += sizeof(struct metric_head) + sizeof(struct cn_sum) + strlen(own->item[i].name);
    CN_TRY(open_parcel(comm, bytes, arena, &p));
    for (size_t i = 0; i < own->count; i++) {
        const struct cn_metric *m = &own->item[i];
        const struct metric_head head = {strlen(m->name), m->kind, m->value};
        put(&p, &head, sizeof head);
        put(&p, &m->sum, sizeof m->sum);
        put(&p, m->name, head.name);
    }
    CN_TRY(send(comm, &p, "metrics"));
    for (int r = 0; r < ranks; r++)
        for (p.at = p.start[r]; p.at < p.start[r + 1];) {
            struct metric_head head;
            struct cn_metric m = {.name = NULL};
            struct cn_text name;
            take(&p, &head, sizeof head);
            take(&p, &m.sum, sizeof m.sum);
            CN_TRY(take_text(&p, head.name, arena, &name));
            m.name = name.data;
            m.kind = (enum cn_metric_kind)head.kind;
            m.value = head.value;
            CN_TRY(cn_metrics_add(all, &m));
        }
    return CN_OK;
}
