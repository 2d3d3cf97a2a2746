/* Dividing over ranks.  Variable parts (token ids, texts, names) travel as one run of bytes per
 * rank, whose length is told first. */
#include "share.h"

#include <string.h>

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

/* ---- atoms ------------------------------------------------------------------------------------
 */

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

/* ---- runs of bytes ----------------------------------------------------------------------------
 */

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

/* ---- answers ----------------------------------------------------------------------------------
 */

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

static enum cn_status exchange_answers(struct cn_comm *comm, struct answer *answers,
                                       const size_t *start, struct cn_arena *arena)
{
    const int ranks = cn_comm_size(comm), rank = cn_comm_rank(comm);
    struct parcel p;
    size_t own = 0;
    if (ranks == 1) return CN_OK;
    for (size_t i = start[rank]; i < start[rank + 1]; i++)
        own += answer_bytes(&answers[i]);
    CN_TRY(open_parcel(comm, own, arena, &p));
    for (size_t i = start[rank]; i < start[rank + 1]; i++)
        put_answer(&p, &answers[i]);
    CN_TRY(send(comm, &p, "answers"));
    for (int r = 0; r < ranks; r++) {
        p.at = p.start[r];
        for (size_t i = start[r]; i < start[r + 1] && r != rank; i++)
            CN_TRY(take_answer(&p, arena, &answers[i]));
    }
    return CN_OK;
}

/* ---- scores -----------------------------------------------------------------------------------
 */

static enum cn_status exchange_scored(struct cn_comm *comm, struct scored *scored,
                                      const size_t *start, struct cn_arena *arena)
{
    const int ranks = cn_comm_size(comm), rank = cn_comm_rank(comm);
    struct parcel p;
    size_t own = 0;
    if (ranks == 1) return CN_OK;
    for (size_t i = start[rank]; i < start[rank + 1]; i++)
        own += sizeof *scored + scored[i].extracted.length;
    CN_TRY(open_parcel(comm, own, arena, &p));
    for (size_t i = start[rank]; i < start[rank + 1]; i++) {
        put(&p, &scored[i], sizeof *scored);
        put(&p, scored[i].extracted.data, scored[i].extracted.length);
    }
    CN_TRY(send(comm, &p, "scores"));
    for (int r = 0; r < ranks; r++) {
        p.at = p.start[r];
        for (size_t i = start[r]; i < start[r + 1] && r != rank; i++) {
            take(&p, &scored[i], sizeof *scored);
            CN_TRY(take_text(&p, scored[i].extracted.length, arena, &scored[i].extracted));
        }
    }
    return CN_OK;
}

/* ---- a round ----------------------------------------------------------------------------------
 */

static enum cn_status cut_wishes(const struct share_round *r, const size_t **out)
{
    const struct wish *wishes = r->wishes->item + r->begin;
    const size_t n = r->wishes->count - r->begin, ranks = (size_t)cn_comm_size(r->comm),
                 first = (size_t)r->first;
    size_t *cost, *start;
    CN_TRY(CN_NEW(r->wishes->arena, n, &cost));
    CN_TRY(CN_NEW(r->wishes->arena, ranks + 1, &start));
    for (size_t i = 0; i < n; i++)
        cost[i] = wishes[i].posed->n_ids + r->options->max_tokens;
    share_cut(cost, n, (int)(ranks - first), start + first);
    for (size_t k = first + 1; k < ranks && scorer_scope(r->scorer) == CN_SCOPE_GROUP; k++)
        while (start[k] > 0 && start[k] < n && wishes[start[k]].group == wishes[start[k] - 1].group)
            start[k]++;
    *out = start;
    return CN_OK;
}

/* Samples this rank's wishes, if it has any; the scorer is told of finished answers if it has
 * begun. */
static enum cn_status sample_own(const struct share_round *r, const size_t *start, bool scores)
{
    const int rank = cn_comm_rank(r->comm);
    struct wishes own = *r->wishes;
    struct rollout_options options = *r->options;
    own.count = r->begin + start[rank + 1];
    if (start[rank] == start[rank + 1]) return CN_OK; /* it may have no sampler */
    options.finished = scores ? scorer_add : NULL;
    options.finished_self = r->scorer;
    return rollout_collect(&options, &own, r->begin + start[rank], own.arena,
                           r->answers + start[rank]);
}

static struct scoring_work work_of(const struct share_round *r, size_t begin, size_t end)
{
    const struct scoring_work work = {.wishes = r->wishes->item + r->begin + begin,
                                      .answers = r->answers + begin,
                                      .n = end - begin,
                                      .max_tokens = r->options->max_tokens};
    return work;
}

/* Samples and scores this rank's wishes, the one during the other. */
static enum cn_status answer_own(struct share_round *r, const size_t *start,
                                 struct cn_metrics *metrics)
{
    const int rank = cn_comm_rank(r->comm);
    const struct scoring_work work = work_of(r, start[rank], start[rank + 1]);
    CN_TRY(scorer_begin(r->scorer, &work));
    enum cn_status status = sample_own(r, start, true);
    if (status == CN_OK)
        status =
            scorer_finish(r->scorer, r->wishes->arena, metrics, r->scored + start[rank], &r->times);
    scorer_abandon(r->scorer);
    return status;
}

/* Every rank scores everything. */
static enum cn_status score_step(struct share_round *r)
{
    const struct scoring_work work = work_of(r, 0, r->wishes->count - r->begin);
    CN_TRY(scorer_begin(r->scorer, &work));
    enum cn_status status =
        scorer_finish(r->scorer, r->wishes->arena, r->metrics, r->scored, &r->times);
    scorer_abandon(r->scorer);
    return status;
}

enum cn_status share_answering(struct share_round *r)
{
    struct cn_arena *arena = r->wishes->arena;
    struct cn_metrics own;
    const size_t *start;
    CN_TRY(cut_wishes(r, &start));
    if (cn_comm_size(r->comm) == 1) return answer_own(r, start, r->metrics);
    if (scorer_scope(r->scorer) == CN_SCOPE_STEP) {
        CN_TRY(sample_own(r, start, false));
        CN_TRY(exchange_answers(r->comm, r->answers, start, arena));
        return score_step(r);
    }
    cn_metrics_init(&own, arena);
    CN_TRY(answer_own(r, start, r->metrics ? &own : NULL));
    CN_TRY(exchange_answers(r->comm, r->answers, start, arena));
    CN_TRY(exchange_scored(r->comm, r->scored, start, arena));
    return r->metrics ? share_metrics(r->comm, &own, arena, r->metrics) : CN_OK;
}

/* ---- metrics ----------------------------------------------------------------------------------
 */

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
