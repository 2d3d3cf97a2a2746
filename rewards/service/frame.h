/* What parent and workers say to each other: one frame per answer to score, one per result, bytes
 * of this machine.  Whoever reads a frame checks every length in it. */
#ifndef CARNOT_SERVICE_FRAME_H
#define CARNOT_SERVICE_FRAME_H

#include "carnot/service.h"

enum {
    FRAME_HEAD = 16,         /* length (4), zero (4), ticket (8) */
    FRAME_REST_MAX = 1 << 16 /* bytes of a result beside `extracted`; more is a broken worker */
};

/* A frame's length without its head, and its ticket: the place of the item in its worker's life. */
struct frame_head {
    uint32_t length, zero;
    uint64_t ticket;
};

/* Appends a frame with ticket 0; `extracted` is cut to that many bytes.
 * Fails: CN_ERR_MEMORY; CN_ERR_DATA above 4 GiB. */
enum cn_status frame_episode(const struct cn_episode *episode, struct cn_str *out);
enum cn_status frame_result(const struct cn_service_result *result, size_t extracted_max,
                            struct cn_str *out);

/* The result that nobody gave: verdict without score. */
enum cn_status frame_verdict(enum cn_verdict verdict, struct cn_str *out);

/* Reads what stands behind a head.  Texts point into `body`; messages live in `arena`.
 * Fails: CN_ERR_DATA if the bytes are not such a frame. */
enum cn_status frame_read_episode(struct cn_text body, struct cn_arena *arena,
                                  struct cn_episode *out);
enum cn_status frame_read_result(struct cn_text body, struct cn_service_result *out);

#endif
