/* JSON trees on cJSON: a strict parser, access, and changes.  The only file that includes cJSON.
 *
 * cJSON's own parser takes numbers such as 01, control characters inside strings and text behind
 * the document, and knows no line numbers; so the text is read here and only the tree is cJSON's.
 * Two fields are free in nodes that we make: `valuedouble` of a text is its length (a text may
 * contain zero bytes), `valueint` the source line. */
#include "carnot/json.h"

#include "json_lex.h"

#include <cjson/cJSON.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { DEPTH_MAX = 200, FEW_KEYS = 12 };

struct parser {
    struct json_lexer lexer;
    size_t depth;
};

static enum cn_status no_memory(void)
{
    return cn_fail(CN_ERR_MEMORY, "out of memory while reading or building JSON");
}

static enum cn_status parse_word(struct parser *p, cJSON **out)
{
    static const struct {
        const char *word;
        size_t length;
        cJSON *(*make)(void);
    } words[] = {{"null", 4, cJSON_CreateNull},
                 {"true", 4, cJSON_CreateTrue},
                 {"false", 5, cJSON_CreateFalse}};
    for (size_t i = 0; i < sizeof words / sizeof *words; i++) {
        size_t length = words[i].length;
        if ((size_t)(p->lexer.end - p->lexer.at) < length ||
            memcmp(p->lexer.at, words[i].word, length) != 0)
            continue;
        *out = words[i].make();
        if (!*out) return no_memory();
        p->lexer.at += length;
        return CN_OK;
    }
    return json_lex_complain(&p->lexer, p->lexer.at,
                             p->lexer.at < p->lexer.end ? "expected a value"
                                                        : "the text ends too early");
}

/* ---- lists and objects --------------------------------------------------- */

static uint64_t key_hash(const char *key)
{
    uint64_t h = 0x9E3779B97F4A7C15u;
    for (; *key; key++) {
        h = (h ^ (unsigned char)*key) * 0xFF51AFD7ED558CCDu;
        h ^= h >> 32;
    }
    return h;
}

/* *duplicate: the first member whose key occurred before, or NULL. */
static enum cn_status find_duplicate(const cJSON *object, size_t count, const cJSON **duplicate)
{
    *duplicate = NULL;
    if (count <= FEW_KEYS) {
        for (const cJSON *m = object->child; m; m = m->next)
            for (const cJSON *n = object->child; n != m; n = n->next)
                if (strcmp(m->string, n->string) == 0) {
                    *duplicate = m;
                    return CN_OK;
                }
        return CN_OK;
    }
    size_t slots = 64;
    while (slots < 2 * count)
        slots *= 2;
    const cJSON **table = calloc(slots, sizeof *table);
    if (!table) return no_memory();
    for (const cJSON *m = object->child; m && !*duplicate; m = m->next) {
        size_t slot = key_hash(m->string) & (slots - 1);
        for (; table[slot]; slot = (slot + 1) & (slots - 1))
            if (strcmp(table[slot]->string, m->string) == 0) {
                *duplicate = m;
                break;
            }
        table[slot] = m;
    }
    free(table);
    return CN_OK;
}

static enum cn_status parse_value(struct parser *p, cJSON **out);

/* One member `"key": value`, or one list item, appended to `parent`. */
static enum cn_status parse_item(struct parser *p, cJSON *parent, bool object)
{
    char *key = NULL;
    size_t length;
    cJSON *value = NULL;
    enum cn_status status = CN_OK;
    if (object) {
        const char *place = p->lexer.at;
        if (p->lexer.at == p->lexer.end || *p->lexer.at != '"')
            return json_lex_complain(&p->lexer, p->lexer.at, "expected a key in double quotes");
        CN_TRY(json_lex_string(&p->lexer, &key, &length));
        if (strlen(key) != length) {
            status = json_lex_complain(&p->lexer, place, "a zero byte in a key");
            goto out;
        }
        CN_TRY_GOTO(json_lex_blanks(&p->lexer), out);
        if (p->lexer.at == p->lexer.end || *p->lexer.at != ':') {
            status = json_lex_complain(&p->lexer, p->lexer.at, "expected ':' behind a key");
            goto out;
        }
        p->lexer.at++;
    }
    CN_TRY_GOTO(parse_value(p, &value), out);
    value->string = key;
    cJSON_AddItemToArray(parent, value); /* appends without touching `string` */
    return CN_OK;
out:
    cJSON_free(key);
    return status;
}

static enum cn_status parse_items(struct parser *p, cJSON *parent, bool object)
{
    const char *open = p->lexer.at, close = object ? '}' : ']';
    if (++p->depth > DEPTH_MAX)
        return json_lex_complain(&p->lexer, open, "nested more than 200 levels deep");
    p->lexer.at++;
    size_t count = 0;
    for (bool more = true; more; count++) {
        CN_TRY(json_lex_blanks(&p->lexer));
        bool may_close = count == 0 || p->lexer.relaxed;
        if (p->lexer.at < p->lexer.end && *p->lexer.at == close && may_close) break;
        if (p->lexer.at == p->lexer.end)
            return json_lex_complain(&p->lexer, open,
                                     object ? "'{' is never closed" : "'[' is never closed");
        CN_TRY(parse_item(p, parent, object));
        CN_TRY(json_lex_blanks(&p->lexer));
        more = p->lexer.at < p->lexer.end && *p->lexer.at == ',';
        p->lexer.at += more;
        if (!more && p->lexer.at < p->lexer.end && *p->lexer.at != close)
            return json_lex_complain(&p->lexer, p->lexer.at,
                                     object ? "expected ',' or '}'" : "expected ',' or ']'");
        if (!more && p->lexer.at == p->lexer.end)
            return json_lex_complain(&p->lexer, open,
                                     object ? "'{' is never closed" : "'[' is never closed");
    }
    p->lexer.at++;
    p->depth--;
    const cJSON *twice = NULL;
    if (object) CN_TRY(find_duplicate(parent, count, &twice));
    if (!twice) return CN_OK;
    char what[160];
    size_t length = (size_t)snprintf(what, sizeof what, "key \"%.80s\" occurs twice in one object",
                                     twice->string);
    if (!p->lexer.one_line)
        snprintf(what + length, sizeof what - length, " (again in line %d)", twice->valueint);
    return json_lex_complain(&p->lexer, open, what);
}

/* An integer of more digits than a double holds keeps its text for printing (`valuestring`). */
static enum cn_status keep_digits(cJSON *node, const char *text, size_t length)
{
    if (length <= 15 || memchr(text, '.', length) || memchr(text, 'e', length) ||
        memchr(text, 'E', length))
        return CN_OK;
    node->valuestring = malloc(length + 1);
    if (!node->valuestring) return no_memory();
    memcpy(node->valuestring, text, length);
    node->valuestring[length] = 0;
    return CN_OK;
}

/* Also skips the blanks before the value. */
static enum cn_status parse_value(struct parser *p, cJSON **out)
{
    CN_TRY(json_lex_blanks(&p->lexer));
    char c = 0;
    if (p->lexer.at < p->lexer.end) c = *p->lexer.at;
    size_t line = json_lex_line(&p->lexer, p->lexer.at);
    cJSON *node = NULL;
    enum cn_status status = CN_OK;
    if (c == '{' || c == '[') {
        node = c == '{' ? cJSON_CreateObject() : cJSON_CreateArray();
        status = node ? parse_items(p, node, c == '{') : no_memory();
    } else if (c == '"') {
        char *text;
        size_t length;
        CN_TRY(json_lex_string(&p->lexer, &text, &length));
        node = cJSON_CreateNull();
        if (!node) {
            cJSON_free(text);
            return no_memory();
        }
        node->type = cJSON_String;
        node->valuestring = text;
        node->valuedouble = (double)length;
    } else if (c == '-' || (c >= '0' && c <= '9')) {
        const char *begin = p->lexer.at;
        double number;
        CN_TRY(json_lex_number(&p->lexer, &number));
        node = cJSON_CreateNumber(number);
        if (!node) return no_memory();
        status = keep_digits(node, begin, (size_t)(p->lexer.at - begin));
    } else
        status = parse_word(p, &node);
    if (status != CN_OK) {
        cJSON_Delete(node);
        return status;
    }
    node->valueint = line < INT32_MAX ? (int)line : 0;
    *out = node;
    return CN_OK;
}

enum form { FORM_DOCUMENT, FORM_LINE, FORM_CONFIG };

static enum cn_status parse(struct cn_text text, const char *name, enum form form,
                            struct cn_json **out)
{
    const bool relaxed = form == FORM_CONFIG;
    struct parser p = {.lexer = {.start = text.data,
                                 .at = text.data,
                                 .end = text.data + text.length,
                                 .name = name,
                                 .relaxed = relaxed,
                                 .one_line = form == FORM_LINE,
                                 .counted_to = text.data,
                                 .line = 1}};
    if (!text.length) p.lexer.start = p.lexer.at = p.lexer.end = p.lexer.counted_to = "";
    if (text.length >= 3 && memcmp(text.data, "\xEF\xBB\xBF", 3) == 0) {
        if (!relaxed)
            return json_lex_complain(&p.lexer, text.data, "the text starts with a byte order mark");
        p.lexer.at += 3;
    }
    cJSON *root;
    CN_TRY(parse_value(&p, &root));
    enum cn_status status = json_lex_blanks(&p.lexer);
    if (status == CN_OK && p.lexer.at < p.lexer.end)
        status = json_lex_complain(&p.lexer, p.lexer.at, "text behind the end of the document");
    if (status != CN_OK) {
        cJSON_Delete(root);
        return status;
    }
    *out = (struct cn_json *)root;
    return CN_OK;
}

enum cn_status cn_json_parse(struct cn_text text, const char *name, struct cn_json **out)
{
    return parse(text, name, FORM_DOCUMENT, out);
}

enum cn_status cn_json_parse_line(struct cn_text text, const char *name, struct cn_json **out)
{
    return parse(text, name, FORM_LINE, out);
}

enum cn_status cn_json_parse_config(struct cn_text text, const char *name, struct cn_json **out)
{
    return parse(text, name, FORM_CONFIG, out);
}

void cn_json_close(struct cn_json *take_root)
{
    cJSON_Delete((cJSON *)take_root);
}

/* ---- access -------------------------------------------------------------- */

static const cJSON *node_of(const struct cn_json *node)
{
    return (const cJSON *)node;
}

enum cn_json_kind cn_json_kind(const struct cn_json *node)
{
    switch (node ? node_of(node)->type : cJSON_NULL) {
    case cJSON_False:
    case cJSON_True:
        return CN_JSON_BOOL;
    case cJSON_Number:
        return CN_JSON_NUMBER;
    case cJSON_String:
        return CN_JSON_TEXT;
    case cJSON_Array:
        return CN_JSON_LIST;
    case cJSON_Object:
        return CN_JSON_OBJECT;
    default:
        return CN_JSON_NULL;
    }
}

const struct cn_json *cn_json_get(const struct cn_json *object, const char *key)
{
    if (cn_json_kind(object) != CN_JSON_OBJECT) return NULL;
    for (const cJSON *m = node_of(object)->child; m; m = m->next)
        if (strcmp(m->string, key) == 0) return (const struct cn_json *)m;
    return NULL;
}

size_t cn_json_count(const struct cn_json *list_or_object)
{
    size_t count = 0;
    for (const struct cn_json *n = cn_json_first(list_or_object); n; n = cn_json_next(n))
        count++;
    return count;
}

const struct cn_json *cn_json_first(const struct cn_json *list_or_object)
{
    return list_or_object ? (const struct cn_json *)node_of(list_or_object)->child : NULL;
}

const struct cn_json *cn_json_next(const struct cn_json *node)
{
    return (const struct cn_json *)node_of(node)->next;
}

const char *cn_json_key(const struct cn_json *member)
{
    const char *key = member ? node_of(member)->string : NULL;
    return key ? key : "";
}

size_t cn_json_line(const struct cn_json *node)
{
    return node ? (size_t)node_of(node)->valueint : 0;
}

bool cn_json_bool(const struct cn_json *node)
{
    return node && node_of(node)->type == cJSON_True;
}

double cn_json_number(const struct cn_json *node)
{
    return cn_json_kind(node) == CN_JSON_NUMBER ? node_of(node)->valuedouble : 0;
}

struct cn_text cn_json_digits(const struct cn_json *node)
{
    const char *text =
        node && cn_json_kind(node) == CN_JSON_NUMBER ? node_of(node)->valuestring : 0;
    return (struct cn_text){text ? text : "", text ? strlen(text) : 0};
}

struct cn_text cn_json_text(const struct cn_json *node)
{
    if (cn_json_kind(node) != CN_JSON_TEXT) return (struct cn_text){"", 0};
    return (struct cn_text){node_of(node)->valuestring, (size_t)node_of(node)->valuedouble};
}

/* ---- building and changing ----------------------------------------------- */

static enum cn_status hand_out(cJSON *node, struct cn_json **out)
{
    if (!node) return no_memory();
    node->valueint = 0;
    *out = (struct cn_json *)node;
    return CN_OK;
}

enum cn_status cn_json_new(enum cn_json_kind kind, struct cn_json **out)
{
    switch (kind) {
    case CN_JSON_BOOL:
        return hand_out(cJSON_CreateFalse(), out);
    case CN_JSON_NUMBER:
        return hand_out(cJSON_CreateNumber(0), out);
    case CN_JSON_TEXT:
        return cn_json_new_text((struct cn_text){"", 0}, out);
    case CN_JSON_LIST:
        return hand_out(cJSON_CreateArray(), out);
    case CN_JSON_OBJECT:
        return hand_out(cJSON_CreateObject(), out);
    default:
        return hand_out(cJSON_CreateNull(), out);
    }
}

enum cn_status cn_json_new_text(struct cn_text text, struct cn_json **out)
{
    cJSON *node = cJSON_CreateNull();
    char *copy = node ? malloc(text.length + 1) : NULL;
    if (!copy) {
        cJSON_Delete(node);
        return no_memory();
    }
    if (text.length) memcpy(copy, text.data, text.length);
    copy[text.length] = 0;
    node->type = cJSON_String;
    node->valuestring = copy;
    node->valuedouble = (double)text.length;
    *out = (struct cn_json *)node;
    return CN_OK;
}

enum cn_status cn_json_new_number(double value, struct cn_json **out)
{
    return hand_out(cJSON_CreateNumber(value), out);
}

enum cn_status cn_json_new_bool(bool value, struct cn_json **out)
{
    return hand_out(cJSON_CreateBool(value), out);
}

static enum cn_status copy_number(const cJSON *from, struct cn_json **out)
{
    CN_TRY(cn_json_new_number(from->valuedouble, out));
    if (!from->valuestring) return CN_OK;
    enum cn_status status =
        keep_digits((cJSON *)*out, from->valuestring, strlen(from->valuestring));
    if (status != CN_OK) cn_json_close(*out);
    return status;
}

/* Copies everything but children. */
static enum cn_status copy_alone(const struct cn_json *node, struct cn_json **out)
{
    const cJSON *from = node_of(node);
    if (cn_json_kind(node) == CN_JSON_TEXT)
        CN_TRY(cn_json_new_text(cn_json_text(node), out));
    else if (cn_json_kind(node) == CN_JSON_NUMBER)
        CN_TRY(copy_number(from, out));
    else if (cn_json_kind(node) == CN_JSON_BOOL)
        CN_TRY(cn_json_new_bool(from->type == cJSON_True, out));
    else
        CN_TRY(cn_json_new(cn_json_kind(node), out));
    ((cJSON *)*out)->valueint = node ? from->valueint : 0;
    return CN_OK;
}

enum cn_status cn_json_copy(const struct cn_json *node, struct cn_json **out)
{
    struct cn_json *copy;
    CN_TRY(copy_alone(node, &copy));
    for (const struct cn_json *n = cn_json_first(node); n; n = cn_json_next(n)) {
        struct cn_json *child;
        enum cn_status status = cn_json_copy(n, &child);
        if (status == CN_OK)
            status = cn_json_kind(node) == CN_JSON_LIST ? cn_json_push(copy, child)
                                                        : cn_json_set(copy, cn_json_key(n), child);
        if (status != CN_OK) {
            cn_json_close(copy);
            return status;
        }
    }
    *out = copy;
    return CN_OK;
}

enum cn_status cn_json_set(struct cn_json *object, const char *key, struct cn_json *take_value)
{
    cJSON *value = (cJSON *)take_value, *parent = (cJSON *)object;
    size_t length = strlen(key) + 1;
    char *name = cn_json_kind(object) == CN_JSON_OBJECT ? malloc(length) : NULL;
    if (!name) {
        cJSON_Delete(value);
        CN_BUG_IF(cn_json_kind(object) != CN_JSON_OBJECT);
        return no_memory();
    }
    memcpy(name, key, length);
    cJSON *old = (cJSON *)cn_json_get(object, key);
    free(value->string);
    value->string = name;
    if (old)
        cJSON_ReplaceItemViaPointer(parent, old, value);
    else
        cJSON_AddItemToArray(parent, value); /* appends and keeps `string` */
    return CN_OK;
}

enum cn_status cn_json_push(struct cn_json *list, struct cn_json *take_value)
{
    if (cn_json_kind(list) != CN_JSON_LIST) cn_json_close(take_value);
    CN_BUG_IF(cn_json_kind(list) != CN_JSON_LIST);
    cJSON_AddItemToArray((cJSON *)list, (cJSON *)take_value);
    return CN_OK;
}

void cn_json_remove(struct cn_json *object, const char *key)
{
    cJSON *member = (cJSON *)cn_json_get(object, key);
    if (member) cJSON_Delete(cJSON_DetachItemViaPointer((cJSON *)object, member));
}
