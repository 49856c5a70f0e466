#include "telnet.h"

#include <string.h>

enum { IN_DATA, IN_IAC, IN_OPTION, IN_SUB_OPTION, IN_SUB, IN_SUB_IAC };

void telnet_init(struct telnet *t, const struct telnet_handlers *handlers, void *arg)
{
	*t = (struct telnet){.handlers = handlers, .arg = arg};
}

bool telnet_has(const struct telnet *t, uint8_t option, bool local)
{
	return (local ? t->us : t->him)[option] == TELNET_YES;
}

static void send_verb(struct telnet *t, uint8_t verb, uint8_t option)
{
	const uint8_t bytes[] = {TELNET_IAC, verb, option};

	t->handlers->send(t->arg, bytes, sizeof(bytes));
}

void telnet_ask(struct telnet *t, uint8_t option, bool local)
{
	uint8_t *side = local ? t->us : t->him;

	if (side[option] != TELNET_NO)
		return;
	side[option] = TELNET_ASKED;
	send_verb(t, local ? TELNET_WILL : TELNET_DO, option);
}

/* RFC 1143, for a side that never takes back what it asked for: only changes are answered. */
static void negotiate(struct telnet *t, uint8_t verb, uint8_t option)
{
	bool local = verb == TELNET_DO || verb == TELNET_DONT;
	bool on = verb == TELNET_DO || verb == TELNET_WILL;
	uint8_t *side = local ? t->us : t->him, was = side[option];

	if (on && was == TELNET_NO)
		send_verb(t, local ? TELNET_WONT : TELNET_DONT, option);
	else if (!on && was == TELNET_YES)
		send_verb(t, local ? TELNET_WONT : TELNET_DONT, option);
	if (was == TELNET_NO || (on && was == TELNET_YES))
		return;
	side[option] = on ? TELNET_YES : TELNET_NO;
	t->handlers->option(t->arg, option, local, on);
}

/* Data runs up to the next IAC; outside of binary mode CR NUL means CR. Returns how many bytes were
 * taken. */
static size_t take_data(struct telnet *t, const uint8_t *data, size_t len)
{
	bool binary = telnet_has(t, TELNET_BINARY, false);
	size_t n = 0;

	if (t->after_cr && data[0] == '\0' && !binary) {
		t->after_cr = false;
		return 1;
	}
	t->after_cr = false;
	while (n < len && data[n] != TELNET_IAC && !t->after_cr)
		t->after_cr = data[n++] == '\r' && !binary;
	if (n)
		t->handlers->data(t->arg, data, n);
	return n;
}

static void take_command(struct telnet *t, uint8_t c)
{
	static const uint8_t iac = TELNET_IAC;

	t->state = IN_DATA;
	if (c == TELNET_IAC) {
		t->after_cr = false;
		t->handlers->data(t->arg, &iac, 1);
	} else if (c >= TELNET_WILL) {
		t->verb = c;
		t->state = IN_OPTION;
	} else if (c == TELNET_SB) {
		t->state = IN_SUB_OPTION;
	}
	/* the others (NOP, GA, AYT …) ask for nothing that a client must do */
}

static void sub_add(struct telnet *t, uint8_t c)
{
	t->state = IN_SUB;
	if (t->sub_len < sizeof(t->sub))
		t->sub[t->sub_len++] = c;
	else
		t->sub_long = true;
}

static void take_in_sub(struct telnet *t, uint8_t c)
{
	if (t->state == IN_SUB && c == TELNET_IAC) {
		t->state = IN_SUB_IAC;
	} else if (t->state == IN_SUB || c == TELNET_IAC) {
		sub_add(t, c);
	} else {
		t->state = IN_DATA;
		if (c == TELNET_SE && !t->sub_long)
			t->handlers->sub(t->arg, t->verb, t->sub, t->sub_len);
		else if (c != TELNET_SE)
			take_command(t, c); /* its end was forgotten */
	}
}

void telnet_receive(struct telnet *t, const uint8_t *data, size_t len)
{
	while (len) {
		size_t n = 1;

		switch (t->state) {
		case IN_DATA:
			if (*data == TELNET_IAC)
				t->state = IN_IAC;
			else
				n = take_data(t, data, len);
			break;
		case IN_IAC:
			take_command(t, *data);
			break;
		case IN_OPTION:
			t->state = IN_DATA;
			negotiate(t, t->verb, *data);
			break;
		case IN_SUB_OPTION:
			t->verb = *data;
			t->sub_len = 0;
			t->sub_long = false;
			t->state = IN_SUB;
			break;
		default:
			take_in_sub(t, *data);
			break;
		}
		data += n;
		len -= n;
	}
}

size_t telnet_escape(const struct telnet *t, const uint8_t *data, size_t len, uint8_t *out)
{
	bool binary = telnet_has(t, TELNET_BINARY, true);
	size_t n = 0;

	for (size_t i = 0; i < len; i++) {
		out[n++] = data[i];
		if (data[i] == TELNET_IAC)
			out[n++] = TELNET_IAC;
		else if (data[i] == '\r' && !binary)
			out[n++] = '\0';
	}
	return n;
}

void telnet_com_port(struct telnet *t, uint8_t command, uint32_t value, size_t size)
{
	uint8_t bytes[16] = {TELNET_IAC, TELNET_SB, TELNET_COM_PORT, command};
	size_t n = 4;

	while (size--) {
		bytes[n] = (uint8_t)(value >> (8 * size));
		if (bytes[n++] == TELNET_IAC)
			bytes[n++] = TELNET_IAC;
	}
	bytes[n++] = TELNET_IAC;
	bytes[n++] = TELNET_SE;
	t->handlers->send(t->arg, bytes, n);
}
