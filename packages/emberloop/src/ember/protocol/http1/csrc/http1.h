/* A strict HTTP/1.1 request-head parser over one contiguous buffer (RFC 9112, RFC 9110).
 *
 * The parser is a resumable state machine: it keeps its scan offset, looks at each byte once, and
 * decides by position alone. So a head that arrives byte by byte costs O(n) and gets the result
 * that the whole head gets. It stores no list of fields: every field line is checked here, those
 * that decide framing and routing are recognised, and Request walks the checked lines again when
 * somebody asks for a header (h1_next_field), which is cheap because it need not check anything.
 *
 * There is no lenient flag. What is accepted is what the RFCs allow a server to accept.
 */
#ifndef EMBER_HTTP1_H
#define EMBER_HTTP1_H

#include <stdint.h>
#include <string.h>
#if defined(__SSE2__)
#include <emmintrin.h>
#endif

enum { H1_MORE = 0, H1_HEAD = 1, H1_ERROR = -1 };

enum {
    H1_START, H1_START_LF, H1_METHOD, H1_TARGET, H1_VERSION, H1_REQUEST_CR, H1_REQUEST_LF,
    H1_LINE, H1_NAME, H1_OWS, H1_VALUE, H1_VALUE_LF, H1_END_LF
};

/* What the fields said; bits of h1_head.flags. */
enum {
    H1_HOST = 1, H1_LENGTH = 2, H1_TRANSFER = 4, H1_CHUNKED = 8, H1_CODING = 16, H1_CLOSE = 32,
    H1_KEEP_ALIVE = 64, H1_CONTINUE = 128, H1_EXPECT_OTHER = 256, H1_UPGRADE = 512,
    H1_CONNECTION_UPGRADE = 1024, H1_ABSOLUTE = 2048, H1_ENCODED = 4096,
    /* more is asked than what is at the target: credentials, a condition, a range, a directive */
    H1_BYPASSES_CACHE = 8192
};

typedef struct {
    uint32_t max_target, max_head, max_fields;
} h1_limits;

typedef struct {
    int64_t content_length;      /* -1: none */
    const char *reason;          /* of an error: static text */
    uint32_t pos;                /* the scan offset; after H1_HEAD: the length of the head */
    uint32_t start;              /* of the request line (empty lines before it are skipped) */
    uint32_t method_len;
    uint32_t target, target_len;
    uint32_t path, path_len;     /* raw, without the query; length 0 for an absolute form without path */
    uint32_t query, query_len;   /* after the question mark */
    uint32_t host, host_len;     /* the authority of an absolute form, else the Host field */
    uint32_t fields;             /* the first field line */
    uint32_t name, name_len, value;
    uint32_t count;
    uint16_t status;             /* of an error: 400, 414, 417, 431, 501, 505 */
    uint16_t flags;
    uint8_t state, minor, seen, kind;
} h1_head;

/* Character classes: bit 0 tchar (RFC 9110 5.6.2), bit 1 request-target, bit 2 reg-name and port
 * of a host (RFC 3986 3.2.2), bit 3 may stand in a field value (RFC 9110 5.5: VCHAR, obs-text, SP,
 * HTAB), bit 4 stands in a path only as part of an escape, or not at all. */
static const uint8_t h1_class[256] = {
    /* 0x00 */ 0,0,0,0,0,0,0,0,0,8,0,0,0,0,0,0, 0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,
    /* sp ! " # $ % & '  */ 8,15,8,9,15,31,15,15,
    /* ( ) * + , - . /   */ 14,14,15,15,14,15,15,10,
    /* 0-9               */ 15,15,15,15,15,15,15,15,15,15,
    /* : ; < = > ?       */ 10,14,8,14,8,10,
    /* @ A-Z             */ 10,15,15,15,15,15,15,15,15,15,15,15,15,15,15,15,
                            15,15,15,15,15,15,15,15,15,15,15,
    /* [ \ ] ^ _ `       */ 26,26,26,27,15,27,
    /* a-z               */ 15,15,15,15,15,15,15,15,15,15,15,15,15,15,15,15,15,15,15,15,15,15,
                            15,15,15,15,
    /* { | } ~ del       */ 26,27,26,15,0,
    /* obs-text          */ 8,8,8,8,8,8,8,8,8,8,8,8,8,8,8,8,8,8,8,8,8,8,8,8,8,8,8,8,8,8,8,8,
                            8,8,8,8,8,8,8,8,8,8,8,8,8,8,8,8,8,8,8,8,8,8,8,8,8,8,8,8,8,8,8,8,
                            8,8,8,8,8,8,8,8,8,8,8,8,8,8,8,8,8,8,8,8,8,8,8,8,8,8,8,8,8,8,8,8,
                            8,8,8,8,8,8,8,8,8,8,8,8,8,8,8,8,8,8,8,8,8,8,8,8,8,8,8,8,8,8,8,8
};
#define H1_TCHAR 1
#define H1_TARGET_CHAR 2
#define H1_HOST_CHAR 4
#define H1_VALUE_CHAR 8
#define H1_NOT_PLAIN 16

/* Said at several places. All that is said here is said in the same words by the build that is not
 * compiled, about the same byte. */
static const char h1_request_line[] = "the request line is malformed";
static const char h1_character[] = "the request target has a character that must be encoded";
static const char h1_version[] = "the HTTP version is malformed";
static const char h1_lf_alone[] = "a line ends in LF without CR";
static const char h1_cr_alone[] = "a line has a CR without LF";
static const char h1_chunked_last[] = "the last transfer coding is not chunked";
static const char h1_one_number[] = "Content-Length is not one number";

static inline void h1_reset(h1_head *h) {
    memset(h, 0, sizeof *h);
    h->content_length = -1;
}

static inline int h1_fail(h1_head *h, int status, const char *reason) {
    h->status = (uint16_t)status;
    h->reason = reason;
    return H1_ERROR;
}

/* The first byte in [p, e) that may not stand in a field value; e when there is none. */
static inline const uint8_t *h1_value_end(const uint8_t *p, const uint8_t *e) {
#if defined(__SSE2__)
    const __m128i low = _mm_set1_epi8(0x1f), tab = _mm_set1_epi8('\t'), del = _mm_set1_epi8(0x7f);
    while (e - p >= 16) {
        __m128i v = _mm_loadu_si128((const __m128i *)p);
        __m128i control = _mm_cmpeq_epi8(_mm_min_epu8(v, low), v);
        control = _mm_andnot_si128(_mm_cmpeq_epi8(v, tab), control);
        int mask = _mm_movemask_epi8(_mm_or_si128(control, _mm_cmpeq_epi8(v, del)));
        if (mask) return p + __builtin_ctz((unsigned)mask);
        p += 16;
    }
#endif
    while (p < e && (h1_class[*p] & H1_VALUE_CHAR)) p++;
    return p;
}

/* Whether [p, p + n) is `lower` (n bytes of lower-case letters, digits and hyphens), in any case. */
static inline int h1_is(const uint8_t *p, const char *lower, size_t n) {
    for (size_t i = 0; i < n; i++) {
        uint8_t c = p[i];
        if (c >= 'A' && c <= 'Z') c |= 0x20;
        if (c != (uint8_t)lower[i]) return 0;
    }
    return 1;
}

/* uri-host [ ":" port ] (RFC 9110 7.2, RFC 3986 3.2.2); an empty field value is allowed (RFC 9112
 * 3.2: the target has no authority). */
static inline int h1_valid_host(const uint8_t *p, uint32_t n) {
    const uint8_t *e = p + n;
    if (p < e && *p == '[') {
        uint32_t colons = 0;
        for (p++; p < e && *p != ']'; p++) {
            uint8_t c = *p | 0x20;
            if (*p == ':') colons++;
            else if (!((*p >= '0' && *p <= '9') || (c >= 'a' && c <= 'f') || *p == '.')) return 0;
        }
        if (p == e || colons < 2) return 0;
        p++;
    } else {
        const uint8_t *first = p;
        for (; p < e && (h1_class[*p] & H1_HOST_CHAR); p++)
            if (*p == '%') {
                if (e - p < 3) return 0;
                for (int i = 1; i < 3; i++) {
                    uint8_t c = p[i] | 0x20;
                    if (!((p[i] >= '0' && p[i] <= '9') || (c >= 'a' && c <= 'f'))) return 0;
                }
            }
        if (p == first && p < e) return 0;
    }
    if (p == e) return 1;
    if (*p++ != ':') return 0;
    uint32_t port = 0;
    for (; p < e; p++) {
        if (*p < '0' || *p > '9') return 0;
        port = port * 10 + (*p - '0');
        if (port > 65535) return 0;
    }
    return 1;
}

static inline int h1_hex(uint8_t c) {
    if (c >= '0' && c <= '9') return c - '0';
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* Whether a path is made of pchars and slashes, and what its escapes stand for is UTF-8 without
 * NUL: a path that two readers could take for two different things is refused (RFC 3986 3.3). */
static int h1_valid_path(const uint8_t *p, const uint8_t *e) {
    uint32_t code = 0, least = 0;
    int more = 0;
    while (p < e && !(h1_class[*p] & H1_NOT_PLAIN)) p++;
    if (p == e) return 1;
    while (p < e) {
        uint8_t c = *p;
        if (c == '%') {
            if (e - p < 3 || h1_hex(p[1]) < 0 || h1_hex(p[2]) < 0) return 0;
            c = (uint8_t)(h1_hex(p[1]) << 4 | h1_hex(p[2]));
            p += 3;
        } else {
            if (h1_class[c] & H1_NOT_PLAIN) return 0;
            p++;
        }
        if (more) {
            if ((c & 0xc0) != 0x80) return 0;
            code = code << 6 | (c & 0x3f);
            if (--more == 0 && (code < least || code > 0x10ffff || (code >> 11) == 0x1b)) return 0;
        } else if (c < 0x80) {
            if (c == 0) return 0;
        } else if (c >= 0xc2 && c < 0xe0) {
            code = c & 0x1f, more = 1, least = 0x80;
        } else if (c >= 0xe0 && c < 0xf0) {
            code = c & 0x0f, more = 2, least = 0x800;
        } else if (c >= 0xf0 && c < 0xf5) {
            code = c & 0x07, more = 3, least = 0x10000;
        } else {
            return 0;
        }
    }
    return more == 0;
}

/* What is wrong with a path that is not valid: an invalid byte or escape first, then what the
 * escapes stand for. */
static const char *h1_path_fault(const uint8_t *p, const uint8_t *e) {
    int nul = 0;
    for (; p < e; p++) {
        if (*p == '%') {
            if (e - p < 3 || h1_hex(p[1]) < 0 || h1_hex(p[2]) < 0) return h1_character;
            if (p[1] == '0' && p[2] == '0') nul = 1;
            p += 2;
        } else if (h1_class[*p] & H1_NOT_PLAIN) {
            return h1_character;
        }
    }
    return nul ? "the request target has an encoded NUL" : "the request target is not UTF-8";
}

/* Target forms (RFC 9112 3.2), once the request line is complete. */
static int h1_target(h1_head *h, const uint8_t *base) {
    const uint8_t *method = base + h->start, *t = base + h->target, *e = t + h->target_len;
    if (h->method_len == 7 && memcmp(method, "CONNECT", 7) == 0) {
        /* authority-form: host ":" port and nothing else (RFC 9112 3.2.3), for proxies only */
        const uint8_t *colon = e;
        while (colon > t && colon[-1] != ':') colon--;
        if (colon - t < 2 || colon == e || e[-1] == ']' || !h1_valid_host(t, h->target_len))
            return h1_fail(h, 400, "the target of CONNECT is not host:port");
        return h1_fail(h, 501, "CONNECT is for proxies");
    } else if (*t == '/') {
        h->path = h->target;
    } else if (h->target_len == 1 && *t == '*') {
        if (h->method_len != 7 || memcmp(method, "OPTIONS", 7) != 0)
            return h1_fail(h, 400, "the target * is for OPTIONS only");
        h->path = h->target;
        h->path_len = 1;
        h->query = h->target + 1;
        return 0;
    } else {
        /* absolute-form: http or https, an authority, then path and query */
        const uint8_t *a;
        if (e - t >= 7 && h1_is(t, "http", 4) && memcmp(t + 4, "://", 3) == 0) a = t + 7;
        else if (e - t >= 8 && h1_is(t, "https", 5) && memcmp(t + 5, "://", 3) == 0) a = t + 8;
        else return h1_fail(h, 400, "the request target is malformed");
        const uint8_t *p = a;
        while (p < e && *p != '/' && *p != '?') p++;
        if (p == a || !h1_valid_host(a, (uint32_t)(p - a)) || *a == ':')
            return h1_fail(h, 400, "the authority of the request target is malformed");
        h->host = (uint32_t)(a - base);
        h->host_len = (uint32_t)(p - a);
        h->flags |= H1_ABSOLUTE;
        h->path = (uint32_t)(p - base);
    }
    const uint8_t *p = base + h->path, *q = memchr(p, '?', (size_t)(e - p));
    /* A % of the query that begins no escape stands for itself, as browsers send it and the URL
     * Standard reads it: nothing is decided by a query before it is decoded. */
    if (!h1_valid_path(p, q ? q : e)) return h1_fail(h, 400, h1_path_fault(p, q ? q : e));
    if (q) {
        h->path_len = (uint32_t)(q - p);
        h->query = (uint32_t)(q - base) + 1;
        h->query_len = (uint32_t)(e - q) - 1;
    } else {
        h->path_len = (uint32_t)(e - p);
        h->query = (uint32_t)(e - base);
    }
    return 0;
}

/* One field line, name and value without surrounding whitespace; only those that Ember itself acts
 * upon are looked at. */
static int h1_field(h1_head *h, const uint8_t *base, uint32_t value_len) {
    const uint8_t *name = base + h->name, *v = base + h->value, *e = v + value_len;
    switch (h->name_len) {
    case 5:
        if (h1_is(name, "range", 5)) h->flags |= H1_BYPASSES_CACHE;
        break;
    case 8:
        if (h1_is(name, "if-match", 8) || h1_is(name, "if-range", 8)) h->flags |= H1_BYPASSES_CACHE;
        break;
    case 13:
        if (h1_is(name, "if-none-match", 13) || h1_is(name, "authorization", 13) ||
            h1_is(name, "cache-control", 13))
            h->flags |= H1_BYPASSES_CACHE;
        break;
    case 19:
        if (h1_is(name, "if-unmodified-since", 19)) h->flags |= H1_BYPASSES_CACHE;
        break;
    case 4:
        if (!h1_is(name, "host", 4)) break;
        /* RFC 9112 3.2: one Host, and a valid one */
        if (h->flags & H1_HOST) return h1_fail(h, 400, "the request has more than one Host field");
        if (!h1_valid_host(v, value_len)) return h1_fail(h, 400, "the Host field is malformed");
        h->flags |= H1_HOST;
        /* RFC 9112 3.2.2: the authority of an absolute form replaces Host */
        if (!(h->flags & H1_ABSOLUTE)) {
            h->host = h->value;
            h->host_len = value_len;
        }
        break;
    case 6:
        if (h1_is(name, "cookie", 6) || h1_is(name, "pragma", 6)) h->flags |= H1_BYPASSES_CACHE;
        if (!h1_is(name, "expect", 6)) break;
        while (v < e && (*v == ',' || *v == ' ' || *v == '\t')) v++;
        while (e > v && (e[-1] == ',' || e[-1] == ' ' || e[-1] == '\t')) e--;
        if (v == e) break; /* an empty list (RFC 9110 5.6.1) */
        if (e - v == 12 && h1_is(v, "100-continue", 12) && !(h->flags & H1_CONTINUE))
            h->flags |= H1_CONTINUE;
        else h->flags |= H1_EXPECT_OTHER;
        break;
    case 7:
        if (h1_is(name, "upgrade", 7)) h->flags |= H1_UPGRADE;
        break;
    case 10:
        if (!h1_is(name, "connection", 10)) break;
        while (v < e) { /* RFC 9110 7.6.1: a list of case-insensitive tokens */
            while (v < e && (*v == ',' || *v == ' ' || *v == '\t')) v++;
            const uint8_t *t = v;
            while (v < e && *v != ',') v++;
            const uint8_t *last = v;
            while (last > t && (last[-1] == ' ' || last[-1] == '\t')) last--;
            size_t n = (size_t)(last - t);
            if (n == 5 && h1_is(t, "close", 5)) h->flags |= H1_CLOSE;
            else if (n == 10 && h1_is(t, "keep-alive", 10)) h->flags |= H1_KEEP_ALIVE;
            else if (n == 7 && h1_is(t, "upgrade", 7)) h->flags |= H1_CONNECTION_UPGRADE;
        }
        break;
    case 14: {
        if (!h1_is(name, "content-length", 14)) break;
        /* RFC 9112 6.3: one length, digits only; two, though equal, are refused */
        if (h->flags & H1_LENGTH) return h1_fail(h, 400, h1_one_number);
        if (value_len == 0 || value_len > 18) return h1_fail(h, 400, h1_one_number);
        int64_t n = 0;
        for (; v < e; v++) {
            if (*v < '0' || *v > '9') return h1_fail(h, 400, h1_one_number);
            n = n * 10 + (*v - '0');
        }
        h->content_length = n;
        h->flags |= H1_LENGTH;
        break;
    }
    case 16:
        if (h1_is(name, "content-encoding", 16)) h->flags |= H1_ENCODED;
        break;
    case 17: {
        if (h1_is(name, "if-modified-since", 17)) h->flags |= H1_BYPASSES_CACHE;
        if (!h1_is(name, "transfer-encoding", 17)) break;
        h->flags |= H1_TRANSFER;
        for (;;) {
            while (v < e && (*v == ' ' || *v == '\t')) v++;
            const uint8_t *t = v;
            while (v < e && *v != ',') v++;
            const uint8_t *last = v;
            while (last > t && (last[-1] == ' ' || last[-1] == '\t')) last--;
            /* RFC 9110 5.6.1.1: no sender makes empty elements, and not every reader drops them */
            if (last == t) return h1_fail(h, 400, "a transfer coding is empty");
            /* RFC 9112 6.1: chunked is applied once, and last */
            if (h->flags & H1_CHUNKED)
                return h1_fail(h, 400, h1_chunked_last);
            if (last - t == 7 && h1_is(t, "chunked", 7)) h->flags |= H1_CHUNKED;
            else h->flags |= H1_CODING;
            if (v == e) break;
            v++;
        }
        break;
    }
    default:
        break;
    }
    return 0;
}

/* What only the whole head can say. */
static int h1_complete(h1_head *h) {
    if (h->minor >= 1 && !(h->flags & H1_HOST)) /* 9112 3.2 */
        return h1_fail(h, 400, "the request has no Host field");
    if (h->flags & H1_TRANSFER) {
        /* RFC 9112 6.1, 6.3: both fields are an attack until shown otherwise; HTTP/1.0 has no
         * transfer codings; a body whose last coding is not chunked has no end */
        if (h->flags & H1_LENGTH)
            return h1_fail(h, 400, "Content-Length and Transfer-Encoding exclude each other");
        if (h->minor == 0) return h1_fail(h, 400, "Transfer-Encoding needs HTTP/1.1");
        if (!(h->flags & H1_CHUNKED))
            return h1_fail(h, 400, h1_chunked_last);
        if (h->flags & H1_CODING)
            return h1_fail(h, 501, "the only transfer coding known here is chunked");
    }
    if (h->minor == 0) h->flags &= (uint16_t)~(H1_CONTINUE | H1_EXPECT_OTHER); /* 9110 10.1.1 */
    if (h->flags & H1_EXPECT_OTHER)
        return h1_fail(h, 417, "the only expectation known here is 100-continue");
    return 0;
}

/* Continue with [base, base + size), whose bytes up to the scan offset were seen before. */
static int h1_parse(h1_head *h, const char *data, uint32_t size, const h1_limits *limits) {
    static const char version[] = "HTTP/1.1";
    const uint8_t *base = (const uint8_t *)data;
    const uint8_t *p = base + h->pos, *e = base + size;
    int capped = 0;
    /* A head longer than its limit is refused at its first byte too many, wherever that is. */
    if (size > limits->max_head) {
        e = base + limits->max_head;
        capped = 1;
    }
    switch (h->state) {
    case H1_START:
        goto start;
    case H1_START_LF: goto start_lf;
    case H1_METHOD: goto method;
    case H1_TARGET: goto target;
    case H1_VERSION: goto version;
    case H1_REQUEST_CR: goto request_cr;
    case H1_REQUEST_LF: goto request_lf;
    case H1_LINE: goto line;
    case H1_NAME: goto name;
    case H1_OWS: goto ows;
    case H1_VALUE: goto value;
    case H1_VALUE_LF: goto value_lf;
    default: goto end_lf;
    }
start:
    h->state = H1_START;
    if (p == e) goto more;
    if (*p == '\r') { /* RFC 9112 2.2: an empty line before the request line is ignored */
        p++;
start_lf:
        h->state = H1_START_LF;
        if (p == e) goto more;
        if (*p != '\n') return h1_fail(h, 400, h1_cr_alone);
        p++;
        goto start;
    }
    h->start = (uint32_t)(p - base);
    h->state = H1_METHOD;
method:
    while (p < e && (h1_class[*p] & H1_TCHAR)) p++;
    if (p - base - h->start > 32) return h1_fail(h, 501, "the method is too long");
    if (p == e) goto more;
    if (*p != ' ' || p == base + h->start) return h1_fail(h, 400, h1_request_line);
    h->method_len = (uint32_t)(p - base) - h->start;
    h->target = (uint32_t)(++p - base);
    h->state = H1_TARGET;
target: {
        const uint8_t *first = base + h->target, *stop = e;
        if (stop - first > (ptrdiff_t)limits->max_target + 1)
            stop = first + limits->max_target + 1;
        while (p < stop && (h1_class[*p] & H1_TARGET_CHAR)) p++;
        if (p - first > (ptrdiff_t)limits->max_target)
            return h1_fail(h, 414, "the request target is too long");
        if (p == e) goto more;
        if (*p != ' ' || p == first)
            return h1_fail(h, 400, p == first || *p == '\r' || *p == '\n' ? h1_request_line
                                                                          : h1_character);
        h->target_len = (uint32_t)(p - first);
        p++;
    }
    h->state = H1_VERSION;
    h->seen = 0;
    if (e - p >= 8 && memcmp(p, "HTTP/1.1", 8) == 0) {
        h->minor = 1;
        p += 8;
        goto version_done;
    }
version:
    while (h->seen < 8) {
        if (p == e) goto more;
        if (h->seen == 5 || h->seen == 7) {
            if (*p < '0' || *p > '9') return h1_fail(h, 400, h1_version);
            /* the major version waits in kind until the minor one is known to be a digit */
            if (h->seen == 5) h->kind = *p - '0';
            else h->minor = *p - '0';
        } else if (*p != (uint8_t)version[h->seen]) {
            return h1_fail(h, 400, h1_version);
        }
        p++;
        h->seen++;
    }
    if (h->kind != 1) return h1_fail(h, 505, "only HTTP/1.0 and HTTP/1.1 are spoken here");
    /* RFC 9110 2.5: a higher minor version is answered as the highest that is known */
    if (h->minor > 1) h->minor = 1;
version_done:
    h->state = H1_REQUEST_CR;
request_cr:
    if (p == e) goto more;
    if (*p != '\r') return h1_fail(h, 400, *p == '\n' ? h1_lf_alone : h1_request_line);
    p++;
    h->state = H1_REQUEST_LF;
request_lf:
    if (p == e) goto more;
    if (*p != '\n') return h1_fail(h, 400, h1_cr_alone);
    p++;
    h->fields = (uint32_t)(p - base);
    if (h1_target(h, base) < 0) return H1_ERROR;
    h->state = H1_LINE;
line:
    if (p == e) goto more;
    if (*p == '\r') {
        p++;
        h->state = H1_END_LF;
        goto end_lf;
    }
    if (++h->count > limits->max_fields)
        return h1_fail(h, 431, "the request has too many header fields");
    h->name = (uint32_t)(p - base);
    h->state = H1_NAME;
name:
    while (p < e && (h1_class[*p] & H1_TCHAR)) p++;
    if (p == e) goto more;
    /* RFC 9112 5.1, 5.2: no space before the colon, no line folding, no line without a colon */
    if (*p != ':' || p == base + h->name)
        return h1_fail(h, 400, p == base + h->name && (*p == ' ' || *p == '\t')
                                   ? "a header field is folded over several lines"
                                   : "a header field is malformed");
    h->name_len = (uint32_t)(p - base) - h->name;
    p++;
    h->state = H1_OWS;
ows:
    while (p < e && (*p == ' ' || *p == '\t')) p++;
    if (p == e) goto more;
    h->value = (uint32_t)(p - base);
    h->state = H1_VALUE;
value:
    p = h1_value_end(p, e);
    if (p == e) goto more;
    if (*p != '\r')
        return h1_fail(h, 400, *p == '\n' ? h1_lf_alone
                                          : "a header field value has a control character");
    p++;
    h->state = H1_VALUE_LF;
value_lf:
    if (p == e) goto more;
    if (*p != '\n') return h1_fail(h, 400, h1_cr_alone);
    p++;
    switch (h->name_len) {
    case 4: case 5: case 6: case 7: case 8: case 10: case 13: case 14: case 16: case 17: case 19: {
        const uint8_t *last = p - 2;
        while (last > base + h->value && (last[-1] == ' ' || last[-1] == '\t')) last--;
        if (h1_field(h, base, (uint32_t)(last - base) - h->value) < 0) return H1_ERROR;
        break;
    }
    default:
        break;
    }
    h->state = H1_LINE;
    goto line;
end_lf:
    if (p == e) goto more;
    if (*p != '\n') return h1_fail(h, 400, h1_cr_alone);
    h->pos = (uint32_t)(p + 1 - base);
    return h1_complete(h) < 0 ? H1_ERROR : H1_HEAD;
more:
    h->pos = (uint32_t)(p - base);
    if (capped) return h1_fail(h, 431, "the request head is too large");
    return H1_MORE;
}

typedef struct {
    const char *name, *value;
    uint32_t name_len, value_len;
} h1_pair;

/* The next field of a head that h1_parse accepted; 0 at the empty line. `*p` moves on. */
static inline int h1_next_field(const char **p, const char *end, h1_pair *pair) {
    const char *s = *p, *last;
    if (s >= end || *s == '\r') return 0;
    pair->name = s;
    const char *colon = memchr(s, ':', (size_t)(end - s));
    pair->name_len = (uint32_t)(colon - s);
    s = colon + 1;
    while (*s == ' ' || *s == '\t') s++;
    pair->value = s;
    last = (const char *)memchr(s, '\r', (size_t)(end - s));
    *p = last + 2;
    while (last > s && (last[-1] == ' ' || last[-1] == '\t')) last--;
    pair->value_len = (uint32_t)(last - s);
    return 1;
}

#endif
