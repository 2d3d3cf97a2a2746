/* A reward service of our own: started with the run, stopped with it, dead if the run dies. */
#ifndef CARNOT_SPAWN_H
#define CARNOT_SPAWN_H

#include "carnot/str.h"

struct spawn;

/* Starts this program as `carnot serve-rewards` with the configuration (JSON) at a free port of
 * this machine and waits until it listens.  Fails: CN_ERR_VERIFIER. */
enum cn_status spawn_service(struct cn_text config, struct spawn **out);

const char *spawn_url(const struct spawn *spawn); /* "http://127.0.0.1:PORT" */
bool spawn_is_alive(struct spawn *spawn);
void spawn_stop(struct spawn *take_spawn); /* gracefully, for at most 10 s; NULL is fine */

#endif
