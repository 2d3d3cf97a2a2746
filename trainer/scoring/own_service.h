/* A reward service of our own: started with the run, stopped with it, dead if the run dies. */
#ifndef CARNOT_OWN_SERVICE_H
#define CARNOT_OWN_SERVICE_H

#include "carnot/str.h"

struct own_service;

/* Starts this program as `carnot serve-rewards` with the configuration (JSON) at a free port of
 * this machine and waits until it listens.  Fails: CN_ERR_VERIFIER. */
enum cn_status own_service_start(struct cn_text config, struct own_service **out);

const char *own_service_url(const struct own_service *own); /* "http://127.0.0.1:PORT" */
bool own_service_is_alive(struct own_service *own);
void own_service_stop(
    struct own_service *take_service); /* gracefully, for at most 10 s; NULL is fine */

#endif
