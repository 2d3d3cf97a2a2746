/* What the service says about itself. */
#include "server.h"

#include "confine.h"

#include <string.h>

enum cn_status page_health(const struct server *server, struct cn_str *out, unsigned *code)
{
    const struct crew_counts crew = desk_crew(server->desk);
    const double age = desk_queue_age(server->desk, server->now);
    const char *status = server->stopping                       ? "stopping"
                         : crew.alive == 0                      ? "no worker is alive"
                         : age > server->settings->queue_wait_s ? "the queue stands still"
                                                                : "healthy";
    const bool healthy = strcmp(status, "healthy") == 0;
    *code = healthy ? MHD_HTTP_OK : MHD_HTTP_SERVICE_UNAVAILABLE;
    return cn_str_format(out,
                         "{\"status\": \"%s\", \"workers\": %zu, \"queue_items\": %zu, "
                         "\"queue_age_s\": %.3f}",
                         status, crew.alive, crew.queued, age);
}

enum cn_status page_version(const struct server *server, struct cn_str *out)
{
    const bool filtered = confine_filters && !server->scorer->starts_programs;
    return cn_str_format(out,
                         "{\"version\": \"%s\", \"rules\": \"%s\", \"rewards\": %s, "
                         "\"system_calls_filtered\": %s}",
                         CN_VERSION, server->rules, server->scorer->rules,
                         filtered ? "true" : "false");
}

enum cn_status page_metrics(const struct server *server, struct cn_str *out)
{
    const struct tally_now now = {.crew = desk_crew(server->desk),
                                  .open_items = desk_open_items(server->desk),
                                  .waiting_requests = server->n_waiting,
                                  .connections = server->n_lines,
                                  .buffered_bytes = server->buffered,
                                  .queue_age_s = desk_queue_age(server->desk, server->now),
                                  .up_s = server->now - server->started,
                                  .rules = server->rules};
    return tally_page(&server->tally, &now, out);
}
