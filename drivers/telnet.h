/*
 * Telnet as a client of a serial port server speaks it: RFC 854 (framing), RFC 856 (binary), RFC
 * 1143 (negotiation without loops), RFC 2217 (the serial port's settings). Pure: bytes in, events
 * and bytes out.
 */
#ifndef DRIVERS_TELNET_H
#define DRIVERS_TELNET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
	TELNET_SE = 240,
	TELNET_SB = 250,
	TELNET_WILL = 251,
	TELNET_WONT = 252,
	TELNET_DO = 253,
	TELNET_DONT = 254,
	TELNET_IAC = 255
};

enum { TELNET_BINARY = 0, TELNET_ECHO = 1, TELNET_SGA = 3, TELNET_COM_PORT = 44 };

/* RFC 2217, client to server; the server's answer is 100 more. */
enum {
	COM_SIGNATURE = 0,
	COM_BAUD = 1,
	COM_DATA = 2,
	COM_PARITY = 3,
	COM_STOP = 4,
	COM_CONTROL = 5,
	COM_SUSPEND = 8,
	COM_RESUME = 9,
	COM_ANSWER = 100
};

/* Values of COM_CONTROL. */
enum {
	COM_FLOW_NONE = 1,
	COM_FLOW_XONXOFF = 2,
	COM_FLOW_RTSCTS = 3,
	COM_BREAK_ON = 5,
	COM_BREAK_OFF = 6,
	COM_DTR_ON = 8,
	COM_DTR_OFF = 9,
	COM_RTS_ON = 11,
	COM_RTS_OFF = 12
};

#define TELNET_SUB_MAX 512 /* a longer subnegotiation is dropped whole */

struct telnet_handlers {
	void (*data)(void *arg, const uint8_t *data, size_t len);
	/* An option is settled, or changed: local for our side, else the server's. */
	void (*option)(void *arg, uint8_t option, bool local, bool on);
	void (*sub)(void *arg, uint8_t option, const uint8_t *data, size_t len);
	/* Bytes for the server, which need no escaping. */
	void (*send)(void *arg, const uint8_t *data, size_t len);
};

enum telnet_side { TELNET_NO, TELNET_ASKED, TELNET_YES };

struct telnet {
	const struct telnet_handlers *handlers;
	void *arg;
	uint8_t us[256], him[256]; /* enum telnet_side */
	int state;
	uint8_t verb;
	uint8_t sub[TELNET_SUB_MAX];
	size_t sub_len;
	bool sub_long, after_cr;
};

/* Starts anew, as on a new connection. handlers are borrowed. */
void telnet_init(struct telnet *t, const struct telnet_handlers *handlers, void *arg);

/* Asks the server for an option: on our side (WILL) or on its (DO). What it asks for is agreed to
 * if it was asked for here, and refused otherwise. */
void telnet_ask(struct telnet *t, uint8_t option, bool local);

/* Whether an option is agreed upon. */
bool telnet_has(const struct telnet *t, uint8_t option, bool local);

/* Bytes from the server. */
void telnet_receive(struct telnet *t, const uint8_t *data, size_t len);

/* Writes data as it goes over the connection: IAC doubled, and outside of binary mode CR as CR NUL.
 * out has room for twice len; returns how much of it is used. */
size_t telnet_escape(const struct telnet *t, const uint8_t *data, size_t len, uint8_t *out);

/* Sends an RFC 2217 command with its value, in size bytes, 1 or 4 (in network order). */
void telnet_com_port(struct telnet *t, uint8_t command, uint32_t value, size_t size);

#endif
