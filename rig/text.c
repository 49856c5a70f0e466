#include "text.h"

#include <stdint.h>
#include <stdio.h>
#include <string.h>

/* The length a character beginning with byte c has by RFC 3629; 0: no character begins so. */
static size_t utf8_len(unsigned char c)
{
	if (c < 0x80)
		return 1;
	if (c >= 0xc2 && c <= 0xdf)
		return 2;
	if (c >= 0xe0 && c <= 0xef)
		return 3;
	return c >= 0xf0 && c <= 0xf4 ? 4 : 0;
}

/* The length of the valid character at s, of at most len bytes; 0 when there is none. */
static size_t utf8_valid(const unsigned char *s, size_t len)
{
	size_t n = utf8_len(s[0]);

	if (n == 0 || n > len)
		return 0;
	for (size_t i = 1; i < n; i++)
		if ((s[i] & 0xc0) != 0x80)
			return 0;
	/* overlong forms, surrogates, and what lies beyond U+10FFFF */
	if ((s[0] == 0xe0 && s[1] < 0xa0) || (s[0] == 0xed && s[1] > 0x9f) ||
		(s[0] == 0xf0 && s[1] < 0x90) || (s[0] == 0xf4 && s[1] > 0x8f))
		return 0;
	return n;
}

static bool stays(unsigned char c, enum text_style style)
{
	if (style == TEXT_STREAM)
		return c != '\0';
	return c == '\t' || (c >= 0x20 && c != 0x7f);
}

size_t text_escape(char *dst, size_t size, const char *src, size_t len, enum text_style style)
{
	static const char hex[] = "0123456789abcdef";
	const unsigned char *s = (const unsigned char *)src;
	size_t out = 0;

	for (size_t i = 0; i < len;) {
		size_t n = utf8_valid(s + i, len - i);
		char escaped[4] = {'\\', 'x', hex[s[i] >> 4], hex[s[i] & 15]};
		const char *from = src + i;

		i += n ? n : 1;
		if (n == 0 || (n == 1 && !stays((unsigned char)*from, style))) {
			from = escaped;
			n = sizeof(escaped);
		}
		if (out + n >= size)
			break;
		memcpy(dst + out, from, n);
		out += n;
	}
	dst[out] = '\0';
	return out;
}

size_t text_unfinished(const char *src, size_t len)
{
	for (size_t back = 1; back <= 3 && back <= len; back++) {
		unsigned char c = (unsigned char)src[len - back];

		if ((c & 0xc0) != 0x80)
			return utf8_len(c) > back ? back : 0;
	}
	return 0;
}
