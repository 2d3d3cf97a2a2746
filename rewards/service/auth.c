/* Tokens and addresses. */
#include "auth.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>

/* An address as 16 bytes, IPv4 in its mapped form. */
struct plain {
    unsigned char byte[16];
};

static const unsigned char mapped[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};

static struct plain plain_of(const struct sockaddr *address)
{
    struct plain plain = {{0}};
    if (address->sa_family == AF_INET6) {
        struct sockaddr_in6 six;
        memcpy(&six, address, sizeof six);
        memcpy(plain.byte, &six.sin6_addr, 16);
    } else if (address->sa_family == AF_INET) {
        struct sockaddr_in four;
        memcpy(&four, address, sizeof four);
        memcpy(plain.byte, mapped, sizeof mapped);
        memcpy(plain.byte + 12, &four.sin_addr, 4);
    }
    return plain;
}

/* Reads "ADDRESS" or "ADDRESS/BITS"; *bits counts from the front of the 16 bytes. */
static bool read_range(const char *text, struct plain *out, unsigned *bits)
{
    char address[64];
    const size_t length = strcspn(text, "/");
    unsigned most = 128, skip = 0;
    char *end;
    if (length == 0 || length >= sizeof address) return false;
    memcpy(address, text, length);
    address[length] = 0;
    memset(out, 0, sizeof *out);
    if (inet_pton(AF_INET, address, out->byte + 12) == 1) {
        memcpy(out->byte, mapped, sizeof mapped);
        most = 32;
        skip = 96;
    } else if (inet_pton(AF_INET6, address, out->byte) != 1) {
        return false;
    }
    *bits = 128;
    if (!text[length]) return true;
    const unsigned long given = strtoul(text + length + 1, &end, 10);
    *bits = skip + (unsigned)(given <= most ? given : 0);
    return isdigit((unsigned char)text[length + 1]) && !*end && given <= most;
}

enum cn_status auth_open(const char *token_file, struct cn_texts allow, struct auth *out)
{
    struct cn_str text = {NULL, 0, 0};
    struct plain plain;
    unsigned bits;
    *out = (struct auth){.allow = allow};
    for (size_t i = 0; i < allow.count; i++)
        if (!read_range(allow.value[i], &plain, &bits))
            return cn_fail(CN_ERR_CONFIG,
                           "service.allow.%zu=\"%s\" is no address: write 10.1.2.3, 10.0.0.0/8 or "
                           "fd00::/8",
                           i, allow.value[i]);
    if (!token_file) return CN_OK;
    if (cn_file_read(token_file, 1 << 16, &text) != CN_OK)
        return cn_fail_context(CN_ERR_CONFIG, "service.token_file");
    size_t begin = 0, end = text.length;
    while (end > begin && isspace((unsigned char)text.data[end - 1]))
        end--;
    while (begin < end && isspace((unsigned char)text.data[begin]))
        begin++;
    bool plain_text = end > begin && end - begin < sizeof out->token;
    for (size_t i = begin; i < end && plain_text; i++)
        plain_text = text.data[i] > ' ' && text.data[i] < 127 && text.data[i] != '/';
    if (plain_text) {
        memcpy(out->token, text.data + begin, end - begin);
        out->length = end - begin;
    }
    cn_str_free(&text);
    if (plain_text) return CN_OK;
    return cn_fail(CN_ERR_CONFIG,
                   "service.token_file: %s must hold one token of 1 to %zu printable characters "
                   "without blanks and slashes",
                   token_file, sizeof out->token - 1);
}

/* Compares `length` bytes at `given` (which may end earlier) with the token in constant time. */
static bool same(const struct auth *auth, const char *given, size_t length)
{
    unsigned char difference = length != auth->length;
    for (size_t i = 0; i < auth->length; i++)
        difference |= (unsigned char)(auth->token[i] ^ (i < length ? given[i] : 0));
    return difference == 0;
}

bool auth_token(const struct auth *auth, const char *header, const char *path, const char **rest)
{
    bool shown = auth->length == 0;
    *rest = path;
    if (header && strncmp(header, "Bearer ", 7) == 0)
        shown |= same(auth, header + 7, strlen(header + 7));
    if (strncmp(path, "/t/", 3) == 0) {
        const size_t length = strcspn(path + 3, "/");
        if (auth->length) shown |= same(auth, path + 3, length);
        *rest = path + 3 + length;
    }
    return shown;
}

bool auth_address(const struct auth *auth, const struct sockaddr *address)
{
    struct plain who = plain_of(address), range;
    unsigned bits;
    for (size_t i = 0; i < auth->allow.count; i++) {
        if (!read_range(auth->allow.value[i], &range, &bits)) continue;
        bool inside = true;
        for (unsigned b = 0; b < bits && inside; b++)
            inside = !((who.byte[b / 8] ^ range.byte[b / 8]) & (0x80 >> b % 8));
        if (inside) return true;
    }
    return auth->allow.count == 0;
}

bool auth_is_loopback(const struct sockaddr *address)
{
    static const unsigned char six[16] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1};
    const struct plain plain = plain_of(address);
    return memcmp(plain.byte, six, 16) == 0 ||
           (memcmp(plain.byte, mapped, sizeof mapped) == 0 && plain.byte[12] == 127);
}
