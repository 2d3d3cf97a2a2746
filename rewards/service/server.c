/* Opening, the loop, the graceful stop. */
#include "server.h"

#include "code.h"

#include "carnot/log.h"

#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <time.h>
#include <unistd.h>

enum {
    BACKLOG = 1024,
    EXTRACTED_MAX = 1 << 15,
    CONNECTION_BYTES = 1 << 16,
    SIGNALS_TO_LEAVE_AT_ONCE = 2
};

static double now_s(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

/* ---- opening ------------------------------------------------------------- */

/* A listening socket; *url is where it listens. */
static enum cn_status listen_at(const struct cn_service_settings *settings, const struct auth *auth,
                                int *out, struct cn_str *url)
{
    struct addrinfo hints = {.ai_family = AF_UNSPEC,
                             .ai_socktype = SOCK_STREAM,
                             .ai_flags = AI_PASSIVE | AI_NUMERICSERV},
                    *found = NULL;
    char port[16], host[128];
    const int yes = 1;
    snprintf(port, sizeof port, "%lld", (long long)settings->port);
    const int failure = getaddrinfo(settings->host, port, &hints, &found);
    if (failure)
        return cn_fail(CN_ERR_CONFIG, "service.host=\"%s\": %s", settings->host,
                       gai_strerror(failure));
    enum cn_status status = CN_OK;
    int fd = -1;
    if (!auth_is_loopback(found->ai_addr) && !auth->length && !settings->insecure) {
        status = cn_fail(CN_ERR_CONFIG,
                         "service.host=\"%s\" lets other machines in: set service.token_file=FILE, "
                         "or service.insecure=true if nobody else can reach it",
                         settings->host);
        goto out;
    }
    fd = socket(found->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd >= 0) setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
    if (fd < 0 || bind(fd, found->ai_addr, found->ai_addrlen) || listen(fd, BACKLOG)) {
        status = cn_fail(CN_ERR_IO,
                         "cannot listen at %s port %s: %s (service.port=0 takes a free "
                         "one)",
                         settings->host, port, strerror(errno));
        goto out;
    }
    struct sockaddr_storage bound;
    socklen_t size = sizeof bound;
    getsockname(fd, (struct sockaddr *)&bound, &size);
    getnameinfo((struct sockaddr *)&bound, size, host, sizeof host, port, sizeof port,
                NI_NUMERICHOST | NI_NUMERICSERV);
    status = cn_str_format(url, bound.ss_family == AF_INET6 ? "http://[%s]:%s" : "http://%s:%s",
                           host, port);
out:
    freeaddrinfo(found);
    if (status != CN_OK && fd >= 0) close(fd);
    if (status == CN_OK) *out = fd;
    return status;
}

/* As many descriptors as the system lets us have. */
static void raise_files(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) || limit.rlim_cur == limit.rlim_max) return;
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
}

static enum cn_status catch_signals(int *out)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    signal(SIGPIPE, SIG_IGN);
    if (sigprocmask(SIG_BLOCK, &set, NULL))
        return cn_fail(CN_ERR_IO, "signals: %s", strerror(errno));
    *out = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
    return *out >= 0 ? CN_OK : cn_fail(CN_ERR_IO, "signalfd: %s", strerror(errno));
}

/* ---- connections --------------------------------------------------------- */

static void on_connection(void *self, struct MHD_Connection *connection, void **context,
                          enum MHD_ConnectionNotificationCode code)
{
    struct server *server = self;
    struct line *line = *context;
    if (code == MHD_CONNECTION_NOTIFY_STARTED) {
        line = calloc(1, sizeof *line);
        *context = line;
        if (!line) return; /* exchange_handle refuses it */
        line->fd =
            MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CONNECTION_FD)->connect_fd;
        line->give_up_at = server->now + server->settings->idle_s;
        line->next = server->lines;
        if (line->next) line->next->previous = line;
        server->lines = line;
        server->n_lines++;
    } else if (line) {
        if (line->next) line->next->previous = line->previous;
        if (line->previous)
            line->previous->next = line->next;
        else
            server->lines = line->next;
        server->n_lines--;
        free(line);
    }
}

/* Hangs up on clients that take too long to say what they want. */
static void hang_up(struct server *server)
{
    if (server->now - server->looked < 1) return;
    server->looked = server->now;
    for (struct line *line = server->lines; line; line = line->next)
        if (!line->busy && server->now > line->give_up_at) shutdown(line->fd, SHUT_RDWR);
}

static void no_log(void *self, const char *format, va_list arguments)
{
    (void)self, (void)format, (void)arguments; /* what clients do wrong is their own business */
}

static enum cn_status start_daemon(struct server *server)
{
    const struct cn_service_settings *s = server->settings;
    server->daemon = MHD_start_daemon(
        MHD_USE_EPOLL | MHD_ALLOW_SUSPEND_RESUME | MHD_USE_ERROR_LOG, 0, NULL, NULL,
        exchange_handle, server, MHD_OPTION_EXTERNAL_LOGGER, no_log, NULL, MHD_OPTION_LISTEN_SOCKET,
        server->listener, MHD_OPTION_CONNECTION_LIMIT, (unsigned)s->connections,
        MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)CONNECTION_BYTES, MHD_OPTION_NOTIFY_COMPLETED,
        exchange_completed, server, MHD_OPTION_NOTIFY_CONNECTION, on_connection, server,
        MHD_OPTION_END);
    if (server->daemon) return CN_OK;
    return cn_fail(CN_ERR_IO, "libmicrohttpd does not start (%s)", MHD_get_version());
}

/* ---- the loop ------------------------------------------------------------ */

static int patience_ms(const struct server *server)
{
    double least = exchange_patience(server);
    const double desk = desk_patience(server->desk, server->now),
                 code = server->code ? desk_patience(server->code, server->now) : desk;
    if (desk < least) least = desk;
    if (code < least) least = code;
    MHD_UNSIGNED_LONG_LONG ms;
    if (MHD_get_timeout(server->daemon, &ms) == MHD_YES && (double)ms < 1e3 * least)
        least = 1e-3 * (double)ms;
    return least <= 0 ? 0 : least > 1 ? 1000 : (int)(1e3 * least) + 1;
}

/* Nothing new comes in from here on. */
static void begin_stop(struct server *server)
{
    server->stopping = true;
    MHD_quiesce_daemon(server->daemon);
    close(server->listener);
    server->listener = -1;
    cn_log_info("stopping: %zu answers and %zu requests are under way",
                desk_open_items(server->desk), server->n_exchanges);
}

static int count_signals(const struct server *server)
{
    struct signalfd_siginfo info;
    int n = 0;
    while (read(server->signals, &info, sizeof info) == (ssize_t)sizeof info)
        n++;
    return n;
}

static enum cn_status loop(struct server *server)
{
    struct pollfd wait[] = {
        {.fd = MHD_get_daemon_info(server->daemon, MHD_DAEMON_INFO_EPOLL_FD)->epoll_fd,
         .events = POLLIN},
        {.fd = desk_fd(server->desk), .events = POLLIN},
        {.fd = server->code ? desk_fd(server->code) : -1, .events = POLLIN},
        {.fd = server->signals, .events = POLLIN}};
    int signals = 0;
    double stop_at = 0;
    for (;;) {
        poll(wait, sizeof wait / sizeof *wait, patience_ms(server));
        server->now = now_s();
        signals += count_signals(server);
        if (signals && !server->stopping) {
            begin_stop(server);
            stop_at = server->now + server->settings->stop_s;
        }
        do { /* replies that became ready go out now: libmicrohttpd wakes nobody for them */
            server->resumed = false;
            MHD_run(server->daemon);
            CN_TRY(desk_run(server->desk, server->now));
            if (server->code) CN_TRY(desk_run(server->code, server->now));
            exchange_admit_waiting(server);
        } while (server->resumed);
        hang_up(server);
        if (!server->stopping) continue;
        if (server->n_exchanges == 0) return CN_OK;
        if (signals >= SIGNALS_TO_LEAVE_AT_ONCE || server->now > stop_at) {
            cn_log_warn("stopped with %zu requests under way", server->n_exchanges);
            exchange_give_up(server);
            MHD_run(server->daemon);
            return CN_OK;
        }
    }
}

/* Tells who started us where we listen. */
static void announce_url(int fd, struct cn_str *url)
{
    if (fd < 0 || cn_str_add(url, "\n") != CN_OK) return;
    for (size_t done = 0; done < url->length;) {
        const ssize_t n = write(fd, url->data + done, url->length - done);
        if (n <= 0) break;
        done += (size_t)n;
    }
    close(fd);
}

/* The desk of /run_code, if this machine can isolate programs and was not told to leave it. */
static enum cn_status open_code(struct server *server)
{
    const struct cn_service_scorer *scorer;
    server->code_settings = *server->settings;
    server->code_settings.workers = server->settings->code_workers;
    server->code_settings.cache = 0;
    server->code_settings.item_timeout_s = 3600; /* the sandbox has limits of its own */
    struct desk_setup setup = {.settings = &server->code_settings,
                               .extracted_max = CODE_REPLY_MAX,
                               .tally = &server->code_tally,
                               .finished = exchange_finished,
                               .self = server,
                               .secret = &server->auth,
                               .secret_size = sizeof server->auth};
    if (!server->settings->code_workers)
        return cn_str_add(&server->no_code, "service.code_workers=0: no programs are run here");
    CN_TRY(code_open(server->settings->code_insecure, &scorer, &server->no_code));
    if (!scorer) return CN_OK;
    setup.scorer = scorer;
    return desk_open(&setup, &server->code);
}

static enum cn_status open_and_loop(struct server *server, int announce)
{
    const struct desk_setup desk = {.settings = server->settings,
                                    .scorer = server->scorer,
                                    .extracted_max = EXTRACTED_MAX,
                                    .tally = &server->tally,
                                    .finished = exchange_finished,
                                    .self = server,
                                    .secret = &server->auth,
                                    .secret_size = sizeof server->auth};
    struct cn_str url = {NULL, 0, 0};
    enum cn_status status = CN_OK;
    CN_TRY(listen_at(server->settings, &server->auth, &server->listener, &url));
    CN_TRY_GOTO(catch_signals(&server->signals), out);
    CN_TRY_GOTO(desk_open(&desk, &server->desk), out);
    CN_TRY_GOTO(open_code(server), out);
    CN_TRY_GOTO(start_daemon(server), out);
    cn_log_info("scoring at %s with %zu workers", url.data, desk_crew(server->desk).alive);
    announce_url(announce, &url);
    status = loop(server);
out:
    cn_str_free(&url);
    return status;
}

enum cn_status cn_service_run(const struct cn_service_settings *settings,
                              const struct cn_service_scorer *scorer, int announce)
{
    static const uint64_t no_secret[2] = {0, 0};
    struct server server = {.settings = settings,
                            .scorer = scorer,
                            .started = now_s(),
                            .now = now_s(),
                            .listener = -1,
                            .signals = -1};
    const struct memo_key key = memo_siphash(no_secret, cn_text(scorer->rules));
    snprintf(server.rules, sizeof server.rules, "%016llx", (unsigned long long)key.word[0]);
    raise_files();
    CN_TRY(auth_open(settings->token_file, settings->allow, &server.auth));
    enum cn_status status = open_and_loop(&server, announce);
    if (server.daemon) MHD_stop_daemon(server.daemon);
    desk_close(server.code);
    desk_close(server.desk);
    cn_str_free(&server.no_code);
    if (server.listener >= 0) close(server.listener);
    if (server.signals >= 0) close(server.signals);
    explicit_bzero(&server.auth, sizeof server.auth);
    return status;
}
