/* A build without libmicrohttpd and libcurl (CN_WITH_SERVICE=OFF) has no service. */
#include "carnot/service.h"

static enum cn_status absent(void)
{
    return cn_fail(CN_ERR_CONFIG, "this build has no reward service (CN_WITH_SERVICE=OFF); "
                                  "launch/setup -DCN_WITH_SERVICE=ON builds one, and "
                                  "service.mode=in_process needs none");
}

enum cn_status cn_service_run(const struct cn_service_settings *settings,
                              const struct cn_service_scorer *scorer, int announce)
{
    (void)settings, (void)scorer, (void)announce;
    return absent();
}

enum cn_status cn_service_client_open(const struct cn_service_settings *settings,
                                      const char *const *urls, size_t n,
                                      struct cn_service_client **out)
{
    (void)settings, (void)urls, (void)n, (void)out;
    return absent();
}

void cn_service_client_close(struct cn_service_client *take_client)
{
    (void)take_client;
}

enum cn_status cn_service_client_add(struct cn_service_client *client,
                                     const struct cn_episode *episode, struct cn_arena *arena,
                                     struct cn_service_result *out)
{
    (void)client, (void)episode, (void)arena, (void)out;
    return absent();
}

enum cn_status cn_service_client_drive(struct cn_service_client *client, double wait_s,
                                       size_t *pending)
{
    (void)client, (void)wait_s, (void)pending;
    return absent();
}

void cn_service_client_wake(struct cn_service_client *client)
{
    (void)client;
}
