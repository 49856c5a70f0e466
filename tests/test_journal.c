#include "rig/err.h"
#include "rig/journal.h"

#include <fcntl.h>
#include <inttypes.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

struct place {
	char dir[64];
	char path[128];
	struct err e;
};

static int setup(void **state)
{
	struct place *p = calloc(1, sizeof(*p));

	strncpy(p->dir, "/tmp/rig-journal-XXXXXX", sizeof(p->dir) - 1);
	if (!mkdtemp(p->dir))
		return -1;
	snprintf(p->path, sizeof(p->path), "%s/journal.ndjson", p->dir);
	*state = p;
	return 0;
}

static int teardown(void **state)
{
	struct place *p = *state;

	unlink(p->path);
	rmdir(p->dir);
	free(p);
	return 0;
}

static struct journal *create(struct place *p)
{
	struct journal *j = journal_create(p->path, &p->e);

	if (!j)
		fail_msg("%s", p->e.msg);
	return j;
}

static void put(struct place *p, const char *text)
{
	FILE *f = fopen(p->path, "a");

	assert_non_null(f);
	assert_int_equal(fwrite(text, 1, strlen(text), f), strlen(text));
	assert_int_equal(fclose(f), 0);
}

static char *slurp(struct place *p)
{
	static char text[65536];
	FILE *f = fopen(p->path, "r");
	size_t n;

	assert_non_null(f);
	n = fread(text, 1, sizeof(text) - 1, f);
	text[n] = '\0';
	fclose(f);
	return text;
}

static int count(void *arg, json_t *record, struct err *e)
{
	(void)record;
	(void)e;
	++*(int *)arg;
	return 0;
}

static int count_records(struct place *p, bool *incomplete)
{
	int n = 0;
	int rc = journal_read(p->path, 1, count, &n, incomplete, &p->e);

	return rc < 0 ? rc : n;
}

static void a_record_has_the_six_fields_first_and_then_its_own(void **state)
{
	static const char *const order[] = {
		"seq", "t_mono_ns", "t_wall", "kind", "board", "trial", "name", "value"};
	struct place *p = *state;
	struct journal *j = create(p);
	json_t *record, *value;
	const char *key;
	size_t i = 0;

	assert_int_equal(journal_write(j, "measure", "demo-1", "a:b/cut=1:torn",
				 json_pack("{ss si}", "name", "heap", "value", 7), &p->e),
		0);
	record = json_loads(slurp(p), 0, NULL);
	assert_non_null(record);
	json_object_foreach (record, key, value) {
		assert_true(i < sizeof(order) / sizeof(*order));
		assert_string_equal(key, order[i++]);
	}
	assert_int_equal(i, 8);
	assert_int_equal(json_integer_value(json_object_get(record, "seq")), 1);
	assert_string_equal(json_string_value(json_object_get(record, "trial")), "a:b/cut=1:torn");
	json_decref(record);
	journal_destroy(j);
}

static void the_wall_time_is_utc_with_milliseconds(void **state)
{
	struct place *p = *state;
	struct journal *j = create(p);
	int y, mo, d, h, mi, s, ms, end = 0;
	json_t *record;

	assert_int_equal(journal_write(j, "note", NULL, NULL, NULL, &p->e), 0);
	record = json_loads(slurp(p), 0, NULL);
	assert_int_equal(
		sscanf(json_string_value(json_object_get(record, "t_wall")),
			"%4d-%2d-%2dT%2d:%2d:%2d.%3dZ%n", &y, &mo, &d, &h, &mi, &s, &ms, &end),
		7);
	assert_int_equal(end, strlen("2026-11-21T10:15:02.123Z"));
	json_decref(record);
	journal_destroy(j);
}

static void records_are_numbered_from_one_and_a_reader_starts_anywhere(void **state)
{
	struct place *p = *state;
	struct journal *j = create(p);
	struct journal_reader *r;
	json_t *record;

	for (int i = 0; i < 5; i++)
		assert_int_equal(
			journal_write(j, "note", NULL, NULL, json_pack("{si}", "i", i), &p->e), 0);
	assert_int_equal(journal_seq(j), 5);
	assert_int_equal(journal_sync(j, &p->e), 0);
	r = journal_reader_create(p->path, 4, &p->e);
	assert_int_equal(journal_reader_next(r, &record, &p->e), 1);
	assert_int_equal(json_integer_value(json_object_get(record, "i")), 3);
	json_decref(record);
	journal_reader_destroy(r);
	journal_destroy(j);
}

static void a_reader_at_the_end_goes_on_with_what_is_written_later(void **state)
{
	struct place *p = *state;
	struct journal *j = create(p);
	struct journal_reader *r = journal_reader_create(p->path, 1, &p->e);
	json_t *record;

	assert_int_equal(journal_reader_next(r, &record, &p->e), 0);
	assert_int_equal(journal_write(j, "one", NULL, NULL, NULL, &p->e), 0);
	assert_int_equal(journal_reader_next(r, &record, &p->e), 1);
	json_decref(record);
	assert_int_equal(journal_reader_next(r, &record, &p->e), 0);
	put(p, "{\"seq\":2,\"ki");
	assert_int_equal(journal_reader_next(r, &record, &p->e), 0);
	assert_true(journal_reader_incomplete(r));
	put(p, "nd\":\"two\"}\n");
	assert_int_equal(journal_reader_next(r, &record, &p->e), 1);
	assert_string_equal(json_string_value(json_object_get(record, "kind")), "two");
	assert_false(journal_reader_incomplete(r));
	json_decref(record);
	journal_reader_destroy(r);
	journal_destroy(j);
}

static void a_record_longer_than_the_read_buffer_is_whole(void **state)
{
	struct place *p = *state;
	struct journal *j = create(p);
	char *big = malloc(200001);
	struct journal_reader *r;
	json_t *record;

	memset(big, 'x', 200000);
	big[200000] = '\0';
	assert_int_equal(
		journal_write(j, "note", NULL, NULL, json_pack("{ss}", "text", big), &p->e), 0);
	r = journal_reader_create(p->path, 0, &p->e);
	assert_int_equal(journal_reader_next(r, &record, &p->e), 1);
	assert_string_equal(json_string_value(json_object_get(record, "text")), big);
	json_decref(record);
	journal_reader_destroy(r);
	journal_destroy(j);
	free(big);
}

static void a_last_line_that_stops_short_is_no_record_and_is_reported(void **state)
{
	struct place *p = *state;
	bool incomplete = false;

	put(p, "{\"seq\":1,\"kind\":\"run\"}\n{\"seq\":2,\"kind\":\"plan\"}");
	assert_int_equal(count_records(p, &incomplete), 1);
	assert_true(incomplete);
}

static void a_gap_in_seq_is_refused_with_its_line(void **state)
{
	struct place *p = *state;

	put(p, "{\"seq\":1,\"kind\":\"run\"}\n{\"seq\":3,\"kind\":\"plan\"}\n");
	assert_int_equal(count_records(p, NULL), -ERR_PROTOCOL);
	assert_non_null(strstr(p->e.msg, "journal.ndjson:2: a gap"));
}

static void bad_json_is_refused_with_its_line(void **state)
{
	struct place *p = *state;

	put(p, "{\"seq\":1,\"kind\":\"run\"}\n{\"seq\":2,\n");
	assert_int_equal(count_records(p, NULL), -ERR_PROTOCOL);
	assert_non_null(strstr(p->e.msg, "journal.ndjson:2: no JSON"));
}

static void a_record_without_kind_is_refused(void **state)
{
	struct place *p = *state;

	put(p, "{\"seq\":1}\n");
	assert_int_equal(count_records(p, NULL), -ERR_PROTOCOL);
	assert_non_null(strstr(p->e.msg, "kind"));
}

static void a_field_may_not_take_the_place_of_the_journals_own(void **state)
{
	struct place *p = *state;
	struct journal *j = create(p);

	assert_int_equal(journal_write(j, "note", NULL, NULL, json_pack("{si}", "seq", 9), &p->e),
		-ERR_USAGE);
	assert_int_equal(journal_write(j, "note", NULL, NULL, NULL, &p->e), 0);
	assert_int_equal(journal_seq(j), 1);
	journal_destroy(j);
}

static void an_existing_journal_is_never_overwritten(void **state)
{
	struct place *p = *state;

	put(p, "{\"seq\":1,\"kind\":\"run\"}\n");
	assert_null(journal_create(p->path, &p->e));
	assert_int_equal(p->e.code, ERR_IO);
	assert_int_equal(count_records(p, NULL), 1);
}

static void a_journal_is_live_while_it_is_open_for_writing(void **state)
{
	struct place *p = *state;
	struct journal *j = create(p);

	assert_true(journal_is_live(p->path));
	assert_null(journal_resume(p->path, &p->e));
	assert_int_equal(p->e.code, ERR_BUSY);
	assert_int_equal(count_records(p, NULL), 0);
	assert_true(journal_is_live(p->path));
	journal_destroy(j);
	assert_false(journal_is_live(p->path));
}

static void the_lock_of_a_killed_writer_is_gone(void **state)
{
	struct place *p = *state;
	int go[2];
	char c;
	pid_t pid;

	assert_int_equal(pipe(go), 0);
	pid = fork();
	if (pid == 0) {
		journal_create(p->path, &p->e);
		if (write(go[1], "x", 1) == 1)
			pause();
		_exit(1);
	}
	assert_int_equal(read(go[0], &c, 1), 1);
	assert_true(journal_is_live(p->path));
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	assert_false(journal_is_live(p->path));
	close(go[0]);
	close(go[1]);
}

static void resuming_cuts_off_what_stops_short_and_numbers_on(void **state)
{
	struct place *p = *state;
	struct journal *j;
	bool incomplete = true;

	put(p, "{\"seq\":1,\"kind\":\"run\"}\n{\"seq\":2,\"kind\":\"note\"}\n{\"seq\":3,\"k");
	j = journal_resume(p->path, &p->e);
	assert_non_null(j);
	assert_int_equal(journal_seq(j), 2);
	assert_int_equal(journal_write(j, "note", NULL, NULL, NULL, &p->e), 0);
	assert_int_equal(count_records(p, &incomplete), 3);
	assert_false(incomplete);
	journal_destroy(j);
}

static void a_damaged_journal_is_not_resumed(void **state)
{
	struct place *p = *state;

	put(p, "{\"seq\":1,\"kind\":\"run\"}\nrubbish\n");
	assert_null(journal_resume(p->path, &p->e));
	assert_int_equal(p->e.code, ERR_PROTOCOL);
}

/* A limit on the file's size stands in for a full disk: a write is taken in part, the next fails.
 */
static void a_full_disk_leaves_whole_records_only_and_the_error_stays(void **state)
{
	struct place *p = *state;
	struct rlimit old, small;
	struct journal *j = create(p);
	void (*handler)(int) = signal(SIGXFSZ, SIG_IGN);
	bool incomplete = true;
	int written = 0;
	uint64_t seq;

	assert_int_equal(getrlimit(RLIMIT_FSIZE, &old), 0);
	small = old;
	small.rlim_cur = 1000;
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
	while (written < 100 && journal_write(j, "note", NULL, NULL,
					json_pack("{ss}", "text", "0123456789"), &p->e) == 0)
		written++;
	seq = journal_seq(j);
	assert_int_equal(p->e.code, ERR_IO);
	assert_non_null(strstr(p->e.msg, p->path));
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &old), 0);
	signal(SIGXFSZ, handler);

	assert_in_range(written, 3, 10);
	assert_int_equal(seq, written);
	assert_int_equal(journal_write(j, "note", NULL, NULL, NULL, &p->e), -ERR_IO);
	assert_int_equal(count_records(p, &incomplete), written);
	assert_false(incomplete);
	journal_destroy(j);
}

static void the_last_record_is_at_hand_as_it_was_written(void **state)
{
	struct place *p = *state;
	struct journal *j = create(p);
	json_t *record;

	assert_null(journal_last(j));
	assert_int_equal(journal_write(j, "note", "b", NULL, NULL, &p->e), 0);
	assert_int_equal(journal_write(j, "note", NULL, NULL, json_pack("{si}", "seq", 9), &p->e),
		-ERR_USAGE);
	record = json_loads(journal_last(j), 0, NULL);
	assert_int_equal(json_integer_value(json_object_get(record, "seq")), 1);
	assert_string_equal(json_string_value(json_object_get(record, "board")), "b");
	json_decref(record);
	assert_null(strchr(journal_last(j), '\n'));
	journal_destroy(j);
}

static int same(struct place *p, const char *a, const char *b)
{
	char pa[160], pb[160];
	int status;
	pid_t pid;
	FILE *f;

	snprintf(pa, sizeof(pa), "%s/a", p->dir);
	snprintf(pb, sizeof(pb), "%s/b", p->dir);
	f = fopen(pa, "w");
	fputs(a, f);
	fclose(f);
	f = fopen(pb, "w");
	fputs(b, f);
	fclose(f);
	pid = fork();
	if (pid == 0) {
		int null = open("/dev/null", O_WRONLY | O_CLOEXEC);

		dup2(null, 1);
		dup2(null, 2);
		execlp("perl", "perl", "tests/journal_same.pl", pa, pb, (char *)NULL);
		_exit(127);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	unlink(pa);
	unlink(pb);
	return WEXITSTATUS(status);
}

#define REC(seq, mono, board, rest)                                                                \
	"{\"seq\":" #seq ",\"t_mono_ns\":" #mono ",\"t_wall\":\"w" #mono "\",\"board\":" board     \
	",\"trial\":null," rest "}\n"

static void journals_that_differ_in_times_ids_paths_and_interleaving_are_the_same(void **state)
{
	const char *a = REC(1, 10, "null", "\"kind\":\"run\",\"run\":\"x\",\"seed\":1")
		REC(2, 11, "\"b1\"", "\"kind\":\"boot\",\"ms\":5,\"resets\":1")
			REC(3, 12, "\"b2\"", "\"kind\":\"trace\",\"path\":\"/a\",\"n\":1");
	const char *b = REC(1, 20, "null", "\"kind\":\"run\",\"run\":\"y\",\"seed\":1")
		REC(2, 21, "\"b2\"", "\"kind\":\"trace\",\"path\":\"/b\",\"n\":1")
			REC(3, 22, "\"b1\"", "\"kind\":\"boot\",\"ms\":7,\"resets\":1");

	assert_int_equal(same(*state, a, b), 0);
}

static void journals_that_differ_in_a_result_are_not_the_same(void **state)
{
	const char *a = REC(1, 10, "\"b1\"", "\"kind\":\"boot\",\"resets\":1");
	const char *b = REC(1, 10, "\"b1\"", "\"kind\":\"boot\",\"resets\":2");

	assert_int_equal(same(*state, a, b), 1);
}

static void a_journal_with_a_record_more_is_not_the_same(void **state)
{
	const char *a = REC(1, 10, "\"b1\"", "\"kind\":\"boot\"");
	const char *b =
		REC(1, 10, "\"b1\"", "\"kind\":\"boot\"") REC(2, 11, "\"b1\"", "\"kind\":\"boot\"");

	assert_int_equal(same(*state, a, b), 1);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(a_record_has_the_six_fields_first_and_then_its_own),
		T(the_wall_time_is_utc_with_milliseconds),
		T(records_are_numbered_from_one_and_a_reader_starts_anywhere),
		T(a_reader_at_the_end_goes_on_with_what_is_written_later),
		T(a_record_longer_than_the_read_buffer_is_whole),
		T(a_last_line_that_stops_short_is_no_record_and_is_reported),
		T(a_gap_in_seq_is_refused_with_its_line),
		T(bad_json_is_refused_with_its_line),
		T(a_record_without_kind_is_refused),
		T(a_field_may_not_take_the_place_of_the_journals_own),
		T(an_existing_journal_is_never_overwritten),
		T(a_journal_is_live_while_it_is_open_for_writing),
		T(the_lock_of_a_killed_writer_is_gone),
		T(resuming_cuts_off_what_stops_short_and_numbers_on),
		T(a_damaged_journal_is_not_resumed),
		T(a_full_disk_leaves_whole_records_only_and_the_error_stays),
		T(the_last_record_is_at_hand_as_it_was_written),
		T(journals_that_differ_in_times_ids_paths_and_interleaving_are_the_same),
		T(journals_that_differ_in_a_result_are_not_the_same),
		T(a_journal_with_a_record_more_is_not_the_same),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
