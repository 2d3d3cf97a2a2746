/* Who waits for what: requests for items, items for workers or for equal items. */
#include "desk.h"

#include "frame.h"

#include <stdlib.h>
#include <unistd.h>

struct desk {
    struct desk_setup setup;
    struct crew *crew;
    struct memo memo;
    struct service_request *first; /* requests taken in, in no order */
    size_t open;                   /* items taken in that have no result yet */
    double next_deadline;          /* of a request taken in, at the earliest; s */
    enum cn_status status;         /* first failure within a call-back */
};

static void note(struct desk *desk, enum cn_status status)
{
    if (desk->status == CN_OK) desk->status = status;
}

/* ---- results ------------------------------------------------------------- */

static void finish(struct desk *desk, struct service_request *request)
{
    if (request->owner && request->left == 0) desk->setup.finished(desk->setup.self, request);
}

/* Gives an item its result and counts it; the request may be finished by it. */
static void settle(struct desk *desk, struct service_item *item, struct cn_text body)
{
    struct cn_service_result result;
    desk->open--;
    if (frame_read_result(body, &result) == CN_OK) tally_result(desk->setup.tally, &result);
    note(desk, request_settle(item, body));
}

static void hand_to_crew(struct desk *desk, struct service_item *item)
{
    item->handed = true;
    item->request->held++;
    crew_add(desk->crew, &item->work);
}

/* A request that everybody has left. */
static void sweep(struct service_request *request)
{
    if (!request->owner && !request->held) request_close(request);
}

/* Results that say something about the answer; the others say something about the machine. */
static bool lasting(enum cn_verdict verdict)
{
    return verdict != CN_VERDICT_CRASHED && verdict != CN_VERDICT_TIMEOUT &&
           verdict != CN_VERDICT_UNSCORED;
}

/* The next item with the same content takes the place of one that brought no result. */
static void promote(struct desk *desk, struct memo_entry *entry)
{
    struct service_item *next = entry->waiting;
    if (!next) {
        memo_settle(entry, (struct cn_text){NULL, 0});
        return;
    }
    entry->waiting = next->next_waiting;
    next->next_waiting = NULL;
    next->waiting = false;
    next->entry = entry;
    hand_to_crew(desk, next);
}

/* The crew has a result, for an item that may have been abandoned. */
static void on_done(void *self, struct work *work, struct cn_text body)
{
    struct desk *desk = self;
    struct service_item *item = work->owner;
    struct service_request *request = item->request;
    struct memo_entry *entry = item->entry;
    struct cn_service_result result;
    item->handed = false;
    item->entry = NULL;
    request->held--;
    if (frame_read_result(body, &result) != CN_OK) result.verdict = CN_VERDICT_UNSCORED;
    if (entry && lasting(result.verdict)) {
        struct service_item *waiting = entry->waiting;
        memo_settle(entry, body);
        while (waiting) {
            struct service_item *next = waiting->next_waiting;
            waiting->waiting = false;
            waiting->next_waiting = NULL;
            settle(desk, waiting, body);
            finish(desk, waiting->request);
            waiting = next;
        }
    } else if (entry) {
        promote(desk, entry);
    }
    if (request->owner) {
        settle(desk, item, body);
        finish(desk, request);
    } else {
        sweep(request);
    }
}

/* ---- requests ------------------------------------------------------------ */

/* One item: known, on its way, or for the workers. */
static void enter_item(struct desk *desk, struct service_item *item)
{
    const struct memo_key key =
        memo_hash(&desk->memo, (struct cn_text){item->work.frame, item->work.length});
    struct memo_entry *entry = memo_find(&desk->memo, key);
    if (entry && !entry->pending) {
        desk->setup.tally->cache_hits++;
        settle(desk, item, (struct cn_text){entry->result, entry->length});
        return;
    }
    if (entry) {
        desk->setup.tally->cache_shared++;
        item->waiting = true;
        item->next_waiting = entry->waiting;
        entry->waiting = item;
        return;
    }
    item->entry = memo_reserve(&desk->memo, key);
    hand_to_crew(desk, item);
}

enum desk_answer desk_enter(struct desk *desk, struct service_request *request, double now)
{
    const size_t most = (size_t)desk->setup.settings->queue;
    if (request->n > most) return DESK_TOO_BIG;
    if (desk->open + request->left > most) return DESK_FULL;
    request->arrived = now;
    if (request->deadline > 0) request->deadline += now;
    if (request->deadline > 0 && request->deadline < desk->next_deadline)
        desk->next_deadline = request->deadline;
    request->previous = NULL;
    request->next = desk->first;
    if (desk->first) desk->first->previous = request;
    desk->first = request;
    desk->open += request->left;
    for (size_t i = 0; i < request->n; i++)
        if (!request->item[i].error.length) enter_item(desk, &request->item[i]);
    finish(desk, request);
    return DESK_TAKEN;
}

/* Takes an item without result out of wherever it waits. */
static void withdraw(struct desk *desk, struct service_item *item)
{
    desk->open--;
    if (item->waiting) {
        const struct memo_key key =
            memo_hash(&desk->memo, (struct cn_text){item->work.frame, item->work.length});
        struct memo_entry *entry = memo_find(&desk->memo, key);
        struct service_item **link = entry ? &entry->waiting : NULL;
        while (link && *link && *link != item)
            link = &(*link)->next_waiting;
        if (link && *link) *link = item->next_waiting;
        item->waiting = false;
    } else if (item->handed && crew_cancel(desk->crew, &item->work)) {
        item->handed = false;
        item->request->held--;
        if (item->entry) promote(desk, item->entry);
        item->entry = NULL;
    }
}

void desk_leave(struct desk *desk, struct service_request *request)
{
    if (request->next) request->next->previous = request->previous;
    if (request->previous)
        request->previous->next = request->next;
    else
        desk->first = request->next;
    request->owner = NULL;
    for (size_t i = 0; i < request->n; i++)
        if (!request->item[i].result.length && !request->item[i].error.length)
            withdraw(desk, &request->item[i]);
    sweep(request);
}

/* Answers requests whose deadline is over with what there is. */
static void look_at_deadlines(struct desk *desk, double now)
{
    desk->next_deadline = now + 3600;
    for (struct service_request *r = desk->first, *next; r; r = next) {
        next = r->next;
        if (r->deadline <= 0 || !r->owner) continue;
        if (now >= r->deadline)
            desk->setup.finished(desk->setup.self, r);
        else if (r->deadline < desk->next_deadline)
            desk->next_deadline = r->deadline;
    }
}

enum cn_status desk_run(struct desk *desk, double now)
{
    note(desk, crew_run(desk->crew, now));
    if (now >= desk->next_deadline) look_at_deadlines(desk, now);
    return desk->status;
}

/* ---- opening and closing ------------------------------------------------- */

static size_t workers_of(const struct cn_service_settings *settings)
{
    const long cores = sysconf(_SC_NPROCESSORS_ONLN);
    if (settings->workers > 0) return (size_t)settings->workers;
    return cores > 1 ? (size_t)cores : 1;
}

enum cn_status desk_open(const struct desk_setup *setup, struct desk **out)
{
    struct desk *desk = calloc(1, sizeof *desk);
    if (!desk) return cn_fail(CN_ERR_MEMORY, "out of memory for the service");
    desk->setup = *setup;
    const struct crew_setup crew = {.scorer = setup->scorer,
                                    .workers = workers_of(setup->settings),
                                    .memory = (size_t)setup->settings->memory_mb << 20,
                                    .item_timeout_s = setup->settings->item_timeout_s,
                                    .extracted_max = setup->extracted_max,
                                    .secret = setup->secret,
                                    .secret_size = setup->secret_size,
                                    .done = on_done,
                                    .self = desk};
    enum cn_status status = memo_open((size_t)setup->settings->cache, &desk->memo);
    if (status == CN_OK) status = crew_open(&crew, &desk->crew);
    if (status == CN_OK)
        *out = desk;
    else
        desk_close(desk);
    return status;
}

void desk_close(struct desk *take_desk)
{
    if (!take_desk) return;
    crew_close(take_desk->crew);
    memo_close(&take_desk->memo);
    for (struct service_request *r = take_desk->first, *next; r; r = next) {
        next = r->next;
        request_close(r);
    }
    free(take_desk);
}

int desk_fd(const struct desk *desk)
{
    return crew_fd(desk->crew);
}

double desk_patience(const struct desk *desk, double now)
{
    const double crew = crew_patience(desk->crew, now), deadline = desk->next_deadline - now;
    return deadline < crew ? (deadline > 0 ? deadline : 0) : crew;
}

size_t desk_open_items(const struct desk *desk)
{
    return desk->open;
}

struct crew_counts desk_crew(const struct desk *desk)
{
    return crew_counts(desk->crew);
}

double desk_queue_age(const struct desk *desk, double now)
{
    const struct work *oldest = crew_oldest(desk->crew);
    const struct service_item *item = oldest ? oldest->owner : NULL;
    return item ? now - item->request->arrived : 0;
}
