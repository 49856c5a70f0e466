/*
 * smp: mcumgr's Simple Management Protocol over the board's console.
 *
 * Operations are served one after another. Each consists of exchanges: a request is sent, and the
 * answer with its sequence number waited for. A request whose answer does not come is sent again,
 * with the same sequence number, so that a late answer to the first sending still counts; answers
 * with any other number are late or double and are dropped. How long to wait at last is up to the
 * operation's deadline alone: a device may erase flash for many seconds before it answers.
 */
#include "driver.h"

#include "../rig/console_port.h"
#include "../rig/file.h"
#include "../rig/smp.h"

#include <nettle/base16.h>
#include <nettle/sha2.h>
#include <stdlib.h>
#include <string.h>

#define IMAGE_MAX ((size_t)16 << 20)
/* What a device takes that does not tell: the default of Zephyr's MCUMGR_TRANSPORT_NETBUF_SIZE. */
#define DEFAULT_BUF_SIZE 384
#define BUF_SIZE_MIN 64
/* Answers in a row that bring an upload no further before it is given up. */
#define STALLS_MAX 8

struct smp;
struct job;

/* Called with the body of an answer without error, or with *e. The job is still the active one. */
typedef void answered_fn(struct smp *smp, struct job *job, const struct err *e, json_t *body);

/* An operation under way or waiting. */
struct job {
	struct job *next;
	uint64_t serial;
	struct op *op;
	void (*start)(struct smp *smp, struct job *job);
	/* request */
	json_t *params; /* checked before it is queued */
	/* send */
	char *data;
	size_t len;
	char sha_hex[BASE16_ENCODE_LENGTH(SHA256_DIGEST_SIZE) + 1];
	json_int_t slot;
	bool upgrade;
	size_t buf_size, off, chunk, resumed_at;
	unsigned chunks, stalls;
};

/* Bytes on their way to the console. */
struct sending {
	struct sending *next, **prev;
	struct smp *smp;
	struct op *op;
};

struct smp {
	struct device dev;
	struct driver_env env;
	unsigned try_ms, tries, version;
	bool opened, closing;
	uint8_t next_seq;
	struct job *jobs, **jobs_end; /* the first one is active */
	uint64_t last_serial;
	struct sending *sendings;
	/* the exchange under way */
	answered_fn *answered; /* NULL: none */
	struct smp_header request;
	char *text;
	size_t text_len;
	unsigned sent, resent;
	uv_timer_t timer;
	struct console_listener lines;
	struct smp_reassembler in;
	struct err broken; /* the last line that could not be read; code ERR_NONE: none */
	void (*closed)(void *arg);
	void *closed_arg;
};

static const struct driver_option options[] = {
	{"try_ms", OPTION_INTEGER, false, "1000",
		"milliseconds without an answer after which a request is sent again"},
	{"tries", OPTION_INTEGER, false, "3", "how often a request is sent at most"},
	{"version", OPTION_INTEGER, false, "1",
		"SMP version of requests: 1, or 2 for errors that name their group"},
	{NULL, OPTION_STRING, false, NULL, NULL},
};

static void start_next(struct smp *smp);

static struct smp *smp_of(struct device *dev)
{
	return (struct smp *)dev;
}

/* --- sending --- */

static void sent(void *arg, const struct err *e, json_t *result)
{
	struct sending *s = arg;
	struct smp *smp = s->smp;
	answered_fn *answered = smp->answered;
	struct err failed;

	(void)result;
	*s->prev = s->next;
	if (s->next)
		s->next->prev = s->prev;
	free(s);
	/* a write that timed out is a lost frame like any other: sent again in its turn */
	if (!e || e->code == ERR_TIMEOUT || smp->closing || !answered)
		return;
	failed = *e;
	err_prefix(&failed, "cannot send");
	uv_timer_stop(&smp->timer);
	smp->answered = NULL;
	answered(smp, smp->jobs, &failed, NULL);
}

static void transmit(struct smp *smp)
{
	struct sending *s = calloc(1, sizeof(*s));

	if (s)
		s->op = op_start(smp->env.loop, "send an SMP request", smp->try_ms, sent, s);
	if (!s || !s->op) {
		free(s);
		return; /* as if the frame were lost */
	}
	s->smp = smp;
	s->next = smp->sendings;
	s->prev = &smp->sendings;
	if (s->next)
		s->next->prev = &s->next;
	smp->sendings = s;
	smp->resent += smp->sent > 0;
	if (++smp->sent < smp->tries)
		uv_timer_again(&smp->timer);
	else
		uv_timer_stop(&smp->timer);
	console_port_write(smp->env.console, smp->text, smp->text_len, s->op);
}

static void unanswered(uv_timer_t *timer)
{
	transmit(timer->data);
}

/*
 * Begins an exchange for the active job. body is stolen. Completes through answered, never from
 * within this call unless the request cannot be encoded.
 */
static void exchange(struct smp *smp, enum smp_op kind, unsigned group, unsigned id, json_t *body,
	answered_fn *answered)
{
	uint8_t *packet = NULL;
	char *text = NULL;
	size_t len;
	struct err e;
	int ret;

	smp->request = (struct smp_header){
		.op = (uint8_t)kind,
		.version = (uint8_t)(smp->version - 1),
		.group = (uint16_t)group,
		.seq = smp->next_seq++,
		.id = (uint8_t)id,
	};
	ret = smp_packet_encode(&smp->request, body, &packet, &len, &e);
	json_decref(body);
	if (!ret)
		ret = smp_lines_encode(packet, len, &text, &smp->text_len, &e);
	free(packet);
	if (ret) {
		answered(smp, smp->jobs, &e, NULL);
		return;
	}
	free(smp->text);
	smp->text = text;
	smp->answered = answered;
	smp->sent = 0;
	uv_update_time(smp->env.loop);
	uv_timer_start(&smp->timer, unanswered, smp->try_ms, smp->try_ms);
	transmit(smp);
}

/* --- receiving --- */

static void exchange_done(struct smp *smp, const struct err *e, json_t *body)
{
	answered_fn *answered = smp->answered;

	smp->answered = NULL;
	uv_timer_stop(&smp->timer);
	answered(smp, smp->jobs, e, body);
}

static void packet_came(struct smp *smp, const uint8_t *packet, size_t len)
{
	struct smp_header h;
	json_t *body;
	struct err e;
	int ret = smp_packet_decode(packet, len, &h, &body, &e);

	/* a body that cannot be read is an answer all the same: sending again would not mend it */
	if (len < SMP_HEADER_BYTES || !smp->answered || h.seq != smp->request.seq ||
		h.op != smp->request.op + 1 || h.group != smp->request.group ||
		h.id != smp->request.id) {
		if (!ret)
			json_decref(body);
		return;
	}
	if (ret) {
		e.code = ERR_DUT;
		exchange_done(smp, &e, NULL);
		return;
	}
	if (smp_body_error(body, &e))
		exchange_done(smp, &e, NULL);
	else
		exchange_done(smp, NULL, body);
	json_decref(body);
}

static void fail_jobs(struct smp *smp, const struct err *e);

static void line_came(void *arg, const char *line, size_t len, uint64_t t_read_ns)
{
	struct smp *smp = arg;
	const uint8_t *packet;
	size_t packet_len;
	struct err e;
	int ret;

	(void)t_read_ns;
	if (!line) {
		smp_reset(&smp->in);
		err_set(&e, ERR_GONE, "the console went silent: the power was cut");
		fail_jobs(smp, &e);
		return;
	}
	ret = smp_reassemble(&smp->in, line, len, &packet, &packet_len, &e);
	if (ret < 0)
		smp->broken = e;
	else if (ret > 0)
		packet_came(smp, packet, packet_len);
}

/* --- jobs --- */

static void job_free(struct job *job)
{
	json_decref(job->params);
	free(job->data);
	free(job);
}

/* Takes the active job off the queue. */
static struct op *job_take(struct smp *smp)
{
	struct job *job = smp->jobs;
	struct op *op = job->op;

	smp->jobs = job->next;
	if (!smp->jobs)
		smp->jobs_end = &smp->jobs;
	job_free(job);
	return op;
}

static void job_fail(struct smp *smp, const struct err *e)
{
	struct op *op = job_take(smp);

	op_fail(op, e);
	start_next(smp);
}

static void job_done(struct smp *smp, json_t *result)
{
	struct op *op = job_take(smp);

	op_done(op, result);
	start_next(smp);
}

/*
 * Ends every job there is now. What their owners start in answer waits behind them and is left
 * alone; what they cancel in answer goes off the queue as ever.
 */
static void fail_jobs(struct smp *smp, const struct err *e)
{
	uint64_t last = smp->last_serial;

	smp->answered = NULL;
	uv_timer_stop(&smp->timer);
	while (smp->jobs && smp->jobs->serial <= last)
		op_fail(job_take(smp), e);
	start_next(smp);
}

static void start_next(struct smp *smp)
{
	if (!smp->jobs || smp->answered || smp->closing)
		return;
	smp->broken.code = ERR_NONE;
	smp->jobs->start(smp, smp->jobs);
}

static void note_trouble(struct smp *smp)
{
	if (smp->broken.code == ERR_NONE)
		return;
	smp->env.event(smp->env.arg, "note",
		json_pack("{s:o}", "text",
			json_sprintf("no whole answer after %u sendings; last: %s", smp->sent,
				smp->broken.msg)));
}

/* The operation was given up: forget it. */
static void forget(struct op *op, void *arg)
{
	struct smp *smp = arg;
	struct job **at = &smp->jobs, *job;
	bool active = smp->jobs->op == op;

	while ((*at)->op != op)
		at = &(*at)->next;
	job = *at;
	*at = job->next;
	if (!*at)
		smp->jobs_end = at;
	job_free(job);
	if (!active)
		return;
	note_trouble(smp);
	smp->answered = NULL;
	uv_timer_stop(&smp->timer);
	start_next(smp);
}

static void enqueue(struct smp *smp, struct job *job)
{
	job->serial = ++smp->last_serial;
	*smp->jobs_end = job;
	smp->jobs_end = &job->next;
	op_on_cancel(job->op, forget, smp);
	if (smp->jobs == job)
		start_next(smp);
}

/* --- request --- */

static void request_answered(struct smp *smp, struct job *job, const struct err *e, json_t *body)
{
	struct err named;

	(void)job;
	if (!e) {
		job_done(smp, json_pack("{s:O}", "body", body));
		return;
	}
	named = *e;
	err_prefix(&named, "SMP group %u command %u", smp->request.group, smp->request.id);
	job_fail(smp, &named);
}

static void request_start(struct smp *smp, struct job *job)
{
	const char *kind;
	int group, id;
	json_t *body = NULL;

	json_unpack(job->params, "{s:s, s:i, s:i, s?:O}", "op", &kind, "group", &group, "id", &id,
		"body", &body);
	exchange(smp, strcmp(kind, "read") == 0 ? SMP_READ : SMP_WRITE, (unsigned)group,
		(unsigned)id, body, request_answered);
}

static bool request_is_valid(json_t *params)
{
	const char *kind;
	int group, id;
	json_t *body = NULL;

	return json_unpack(params, "{s:s, s:i, s:i, s?:o}", "op", &kind, "group", &group, "id", &id,
		       "body", &body) == 0 &&
	       (strcmp(kind, "read") == 0 || strcmp(kind, "write") == 0) && group >= 0 &&
	       group <= UINT16_MAX && id >= 0 && id <= UINT8_MAX && (!body || json_is_object(body));
}

static void smp_request(struct device *dev, json_t *params, struct op *op)
{
	struct smp *smp = smp_of(dev);
	struct job *job;

	if (smp->closing || !smp->opened) {
		op_failf(op, ERR_GONE, "the device is not open");
		return;
	}
	if (!request_is_valid(params)) {
		op_failf(op, ERR_USAGE,
			"an SMP request is {\"op\": \"read\"|\"write\", \"group\": 0…65535, "
			"\"id\": 0…255, \"body\": {…}}");
		return;
	}
	job = calloc(1, sizeof(*job));
	if (!job) {
		op_failf(op, ERR_NOMEM, "out of memory");
		return;
	}
	job->op = op;
	job->start = request_start;
	job->params = json_incref(params);
	enqueue(smp, job);
}

/* --- send --- */

static json_t *hex_bytes(const char *data, size_t len)
{
	char *hex = malloc(BASE16_ENCODE_LENGTH(len) + 1);
	json_t *value;

	if (!hex)
		return NULL;
	base16_encode_update(hex, len, (const uint8_t *)data);
	value = json_pack("{s:s%}", "hex", hex, BASE16_ENCODE_LENGTH(len));
	free(hex);
	return value;
}

/* The request that carries the chunk at job->off; the first one says what the image is. */
static json_t *chunk_body(const struct job *job, size_t len)
{
	json_t *body = json_pack("{s:I, s:o}", "off", (json_int_t)job->off, "data",
		hex_bytes(job->data + job->off, len));

	if (job->off)
		return body;
	json_object_set_new(body, "len", json_integer((json_int_t)job->len));
	json_object_set_new(body, "sha", json_pack("{s:s}", "hex", job->sha_hex));
	if (job->slot)
		json_object_set_new(body, "image", json_integer(job->slot));
	if (job->upgrade)
		json_object_set_new(body, "upgrade", json_true());
	return body;
}

/* How many bytes of image fit: the device's buffer holds the header and the body. */
static size_t chunk_room(const struct job *job)
{
	json_t *body = chunk_body(job, 0);
	size_t cbor_len = 0, taken, left = job->len - job->off;
	uint8_t *cbor;
	struct err e;

	if (smp_cbor_encode(body, &cbor, &cbor_len, &e) == 0)
		free(cbor);
	json_decref(body);
	/* the byte string's head grows by at most two bytes over that of an empty one */
	taken = SMP_HEADER_BYTES + cbor_len + 2;
	if (job->buf_size <= taken)
		return 0;
	return left < job->buf_size - taken ? left : job->buf_size - taken;
}

static void chunk_answered(struct smp *smp, struct job *job, const struct err *e, json_t *body);

static void chunk_send(struct smp *smp, struct job *job)
{
	struct err e;

	job->chunk = chunk_room(job);
	if (job->chunk == 0) {
		err_set(&e, ERR_DUT, "its buffer of %zu bytes is too small for an upload",
			job->buf_size);
		job_fail(smp, &e);
		return;
	}
	exchange(smp, SMP_WRITE, SMP_GROUP_IMAGE, SMP_IMAGE_UPLOAD, chunk_body(job, job->chunk),
		chunk_answered);
}

static void chunk_answered(struct smp *smp, struct job *job, const struct err *e, json_t *body)
{
	json_t *off = json_object_get(body, "off");
	size_t sent_from = job->off;
	struct err failed = {0};

	if (e) {
		failed = *e;
		err_prefix(&failed, "image upload at byte %zu of %zu", job->off, job->len);
	} else if (json_is_false(json_object_get(body, "match"))) {
		err_set(&failed, ERR_DUT,
			"image upload: the device got another hash than the file's");
	} else if (!json_is_integer(off) || json_integer_value(off) < 0 ||
		   (size_t)json_integer_value(off) > job->len) {
		err_set(&failed, ERR_DUT,
			"image upload at byte %zu of %zu: no valid offset in the answer", job->off,
			job->len);
	}
	if (failed.code != ERR_NONE) {
		job_fail(smp, &failed);
		return;
	}
	job->chunks++;
	job->off = (size_t)json_integer_value(off);
	if (job->chunks == 1 && job->off > job->chunk)
		job->resumed_at = job->off;
	job->stalls = job->off > sent_from ? 0 : job->stalls + 1;
	if (job->off == job->len) {
		job_done(smp, json_pack("{s:I, s:i, s:I, s:i}", "bytes", (json_int_t)job->len,
				      "chunks", job->chunks, "resumed_at",
				      (json_int_t)job->resumed_at, "resent", smp->resent));
	} else if (job->stalls >= STALLS_MAX) {
		err_set(&failed, ERR_DUT, "image upload: stays at byte %zu of %zu", job->off,
			job->len);
		job_fail(smp, &failed);
	} else {
		chunk_send(smp, job);
	}
}

static void parameters_answered(struct smp *smp, struct job *job, const struct err *e, json_t *body)
{
	json_int_t size = json_integer_value(json_object_get(body, "buf_size"));

	/* a refusal is fine: the command is optional */
	if (e && e->code != ERR_DUT) {
		job_fail(smp, e);
		return;
	}
	job->buf_size = DEFAULT_BUF_SIZE;
	if (size >= BUF_SIZE_MIN)
		job->buf_size = size < SMP_PACKET_MAX ? (size_t)size : SMP_PACKET_MAX;
	chunk_send(smp, job);
}

static void send_start(struct smp *smp, struct job *job)
{
	(void)job;
	smp->resent = 0;
	exchange(smp, SMP_READ, SMP_GROUP_OS, SMP_OS_PARAMETERS, NULL, parameters_answered);
}

static void hash_file(struct job *job)
{
	struct sha256_ctx sha;
	uint8_t digest[SHA256_DIGEST_SIZE];

	sha256_init(&sha);
	sha256_update(&sha, job->len, (const uint8_t *)job->data);
	sha256_digest(&sha, sizeof(digest), digest);
	base16_encode_update(job->sha_hex, sizeof(digest), digest);
}

static void smp_send(struct device *dev, const char *path, json_t *params, struct op *op)
{
	struct smp *smp = smp_of(dev);
	struct job *job;
	struct err e;
	int ret;

	if (smp->closing || !smp->opened) {
		op_failf(op, ERR_GONE, "the device is not open");
		return;
	}
	job = calloc(1, sizeof(*job));
	if (!job) {
		op_failf(op, ERR_NOMEM, "out of memory");
		return;
	}
	job->slot = json_integer_value(json_object_get(params, "slot"));
	job->upgrade = json_is_true(json_object_get(params, "upgrade"));
	ret = file_read(path, IMAGE_MAX, &job->data, &job->len, &e);
	if (!ret && job->len == 0)
		ret = err_set(&e, ERR_USAGE, "%s: an empty file is no image", path);
	if (ret) {
		job_free(job);
		op_fail(op, &e);
		return;
	}
	hash_file(job);
	job->op = op;
	job->start = send_start;
	enqueue(smp, job);
}

/* --- the device --- */

static struct device *smp_create(const struct driver_env *env, json_t *opts, struct err *e)
{
	json_int_t try_ms, tries, version;
	struct smp *smp;

	if (json_unpack(opts, "{s:I, s:I, s:I}", "try_ms", &try_ms, "tries", &tries, "version",
		    &version) ||
		try_ms < 1 || try_ms > 3600000 || tries < 1 || tries > 1000) {
		err_set(e, ERR_CONFIG, "try_ms and tries must be 1 or more");
		return NULL;
	}
	if (version != 1 && version != 2) {
		err_set(e, ERR_CONFIG, "version must be 1 or 2");
		return NULL;
	}
	if (!env->console) {
		err_set(e, ERR_CONFIG, "needs a board with a console");
		return NULL;
	}
	smp = calloc(1, sizeof(*smp));
	if (!smp) {
		err_set(e, ERR_NOMEM, "out of memory");
		return NULL;
	}
	smp->env = *env;
	smp->lines = (struct console_listener){line_came, smp, NULL};
	smp->try_ms = (unsigned)try_ms;
	smp->tries = (unsigned)tries;
	smp->version = (unsigned)version;
	smp->jobs_end = &smp->jobs;
	uv_timer_init(env->loop, &smp->timer);
	smp->timer.data = smp;
	return &smp->dev;
}

static void smp_open(struct device *dev, struct op *op)
{
	struct smp *smp = smp_of(dev);

	console_port_listen(smp->env.console, &smp->lines);
	smp->opened = true;
	op_done(op, NULL);
}

/* A protocol holds nothing of the board that could be unsafe. */
static void smp_make_safe(struct device *dev, struct op *op)
{
	(void)dev;
	op_done(op, NULL);
}

static void timer_closed(uv_handle_t *handle)
{
	struct smp *smp = handle->data;
	void (*closed)(void *) = smp->closed;
	void *arg = smp->closed_arg;

	free(smp->text);
	free(smp);
	closed(arg);
}

static void smp_close(struct device *dev, void (*closed)(void *arg), void *arg)
{
	struct smp *smp = smp_of(dev);
	struct err e;

	smp->closing = true;
	smp->closed = closed;
	smp->closed_arg = arg;
	console_port_unlisten(smp->env.console, &smp->lines);
	err_set(&e, ERR_GONE, "the device was closed");
	fail_jobs(smp, &e);
	while (smp->sendings)
		op_cancel(smp->sendings->op, &e);
	uv_close((uv_handle_t *)&smp->timer, timer_closed);
}

static const struct transport_ops transport = {.request = smp_request, .send = smp_send};

const struct driver driver_smp = {
	.name = "smp",
	.help = "mcumgr's Simple Management Protocol over the console",
	.options = options,
	.needs_console = true,
	.create = smp_create,
	.open = smp_open,
	.make_safe = smp_make_safe,
	.close = smp_close,
	.transport = &transport,
};
