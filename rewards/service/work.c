/* Lists of answers that wait for a worker or are with one. */
#include "work.h"

void work_add(struct work_list *list, struct work *work, bool front)
{
    work->previous = front ? NULL : list->last;
    work->next = front ? list->first : NULL;
    if (work->previous)
        work->previous->next = work;
    else
        list->first = work;
    if (work->next)
        work->next->previous = work;
    else
        list->last = work;
    list->n++;
    list->bytes += work->length;
}

void work_remove(struct work_list *list, struct work *work)
{
    if (work->previous)
        work->previous->next = work->next;
    else
        list->first = work->next;
    if (work->next)
        work->next->previous = work->previous;
    else
        list->last = work->previous;
    work->next = work->previous = NULL;
    list->n--;
    list->bytes -= work->length;
}
