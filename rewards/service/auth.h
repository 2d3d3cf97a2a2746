/* Who may ask: the token, where it stands, which addresses are let in. */
#ifndef CARNOT_SERVICE_AUTH_H
#define CARNOT_SERVICE_AUTH_H

#include "carnot/service.h"

#include <sys/socket.h>

/* A token read from a file; length 0: none is asked for. */
struct auth {
    char token[512];
    size_t length;
    struct cn_texts allow; /* "10.0.0.0/8", "::1", "192.168.1.7"; none: everybody */
};

/* Reads the token file (white space around the token is cut) and checks the addresses.
 * Fails: CN_ERR_CONFIG naming file or address, and what is wrong with it. */
enum cn_status auth_open(const char *token_file, struct cn_texts allow, struct auth *out);

/* Whether "Bearer TOKEN" (may be NULL) or the path "/t/TOKEN/..." shows the token; *rest is the
 * path without it.  The time it takes does not depend on where a wrong token differs. */
bool auth_token(const struct auth *auth, const char *header, const char *path, const char **rest);

/* Whether that address may ask. */
bool auth_address(const struct auth *auth, const struct sockaddr *address);

/* Whether the host is this machine alone: 127.0.0.0/8 or ::1. */
bool auth_is_loopback(const struct sockaddr *address);

#endif
