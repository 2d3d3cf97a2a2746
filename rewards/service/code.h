/* /run_code: programs in the sandbox, in the protocol of SandboxFusion, which verl calls.
 *
 * A request travels as an episode: the response is the program, the prompt its language, the ground
 * truth its standard input, the row its limits and files.  The reply's body is `extracted`. */
#ifndef CARNOT_SERVICE_CODE_H
#define CARNOT_SERVICE_CODE_H

#include "carnot/service.h"

/* Finds out whether this machine can isolate programs.  *out is what a worker runs; NULL if it
 * cannot, and `why` says what is missing.  insecure: run without isolation (sandbox.h). */
enum cn_status code_open(bool insecure, const struct cn_service_scorer **out, struct cn_str *why);

/* Reads the body of /run_code into an episode; texts are borrowed or live in `arena`.
 * Fails: CN_ERR_DATA if it has no text "code" or "language". */
enum cn_status code_read(const struct cn_json *body, struct cn_arena *arena,
                         struct cn_episode *out);

/* A reply that no program gave. */
enum cn_status code_reply_error(struct cn_str *out, const char *message);

enum { CODE_REPLY_MAX = 1 << 23 };

#endif
