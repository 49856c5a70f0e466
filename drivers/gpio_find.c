/*
 * Finding a line on the GPIO chips of this host, and listing what there is.
 */
#include "gpio_find.h"

#include "../rig/err.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>

#define CHIPS_MAX 64
#define MEND_ACCESS "install 60-rig.rules, and add yourself to the group gpio"

void gpio_spec_text(const struct gpio_spec *spec, char *buf, size_t size)
{
	if (!spec->name[0])
		snprintf(buf, size, "%s line %u", spec->chip, spec->number);
	else if (spec->chip[0])
		snprintf(buf, size, "%s line \"%s\"", spec->chip, spec->name);
	else
		snprintf(buf, size, "GPIO line \"%s\"", spec->name);
}

/* --- chips ------------------------------------------------------------------------------------ */

static int is_chip(const struct dirent *entry)
{
	/* a link is another name of a chip that is here anyway */
	return strncmp(entry->d_name, "gpiochip", 8) == 0 && entry->d_type != DT_LNK;
}

static int by_number(const struct dirent **a, const struct dirent **b)
{
	return strverscmp((*a)->d_name, (*b)->d_name);
}

static void free_entries(struct dirent **entries, int n)
{
	for (int i = 0; i < n; i++)
		free(entries[i]);
	free(entries);
}

/* Calls see for each chip that can be opened; see closes it, or keeps it. refused counts the
 * others, of which blocked is one. */
struct chip_walk {
	void (*see)(void *arg, const char *path, struct gpio_chip *chip,
		const struct gpio_chip_info *info);
	void (*refuse)(void *arg, const char *path, int errnum); /* may be NULL */
	void *arg;
};

static void walk_chips(const struct chip_walk *walk)
{
	struct dirent **entries = NULL;
	int n = scandir(gpio_lib_dir(), &entries, is_chip, by_number);

	for (int i = 0; i < n && i < CHIPS_MAX; i++) {
		struct gpio_chip_info info;
		struct gpio_chip *chip;
		char path[PATH_MAX];
		int ret;

		snprintf(path, sizeof(path), "%s/%s", gpio_lib_dir(), entries[i]->d_name);
		ret = gpio_lib_chip_open(path, &chip, &info);
		if (ret == 0)
			walk->see(walk->arg, path, chip, &info);
		else if (walk->refuse)
			walk->refuse(walk->arg, path, -ret);
	}
	free_entries(entries, n);
}

/* --- a line ----------------------------------------------------------------------------------- */

struct finding {
	const struct gpio_spec *spec;
	struct gpio_place *place;
	struct gpio_chip *chip; /* where it was found */
	unsigned found;
	char also[160];    /* where it was found again */
	char there[512];   /* the chips there are */
	char refused[512]; /* one that could not be opened */
	unsigned chips;    /* that could be meant */
};

static void add_text(char *buf, size_t size, const char *text)
{
	size_t len = strlen(buf);

	snprintf(buf + len, size - len, "%s%s", len ? ", " : "", text);
}

static void name_chip(const struct gpio_chip_info *chip, char *buf, size_t size)
{
	snprintf(buf, size, "%s [%s]", chip->name, chip->label);
}

static void name_line(const struct gpio_chip_info *chip, unsigned number,
	const struct gpio_line_info *line, char *buf, size_t size)
{
	char of[80];

	name_chip(chip, of, sizeof(of));
	if (line->name[0])
		snprintf(buf, size, "%s line %u (%s)", of, number, line->name);
	else
		snprintf(buf, size, "%s line %u", of, number);
}

static bool is_line(
	const struct gpio_spec *spec, unsigned number, const struct gpio_line_info *line)
{
	return spec->name[0] ? strcmp(spec->name, line->name) == 0 : spec->number == number;
}

/* Takes chip over when the line is on it, as the first one; else closes it. */
static void look_on(struct finding *f, const char *path, struct gpio_chip *chip,
	const struct gpio_chip_info *info)
{
	struct gpio_line_info line;
	bool keep = false;

	f->chips++;
	for (unsigned i = 0; i < info->lines; i++) {
		if (!f->spec->name[0] && i != f->spec->number)
			continue;
		if (gpio_lib_line_info(chip, i, &line) != 0 || !is_line(f->spec, i, &line))
			continue;
		if (f->found++) {
			name_line(info, i, &line, f->also, sizeof(f->also));
			continue;
		}
		snprintf(f->place->path, sizeof(f->place->path), "%s", path);
		f->place->chip = *info;
		f->place->line = line;
		f->place->number = i;
		name_line(info, i, &line, f->place->where, sizeof(f->place->where));
		f->chip = chip;
		keep = true;
	}
	if (!keep)
		gpio_lib_chip_close(chip);
}

static void see(
	void *arg, const char *path, struct gpio_chip *chip, const struct gpio_chip_info *info)
{
	struct finding *f = arg;
	char text[80];

	name_chip(info, text, sizeof(text));
	add_text(f->there, sizeof(f->there), text);
	if (f->spec->chip[0] && strcmp(f->spec->chip, info->label) != 0)
		gpio_lib_chip_close(chip);
	else
		look_on(f, path, chip, info);
}

static void refuse(void *arg, const char *path, int errnum)
{
	struct finding *f = arg;

	snprintf(f->refused, sizeof(f->refused), "%.200s cannot be opened: %s%s%s", path,
		strerror(errnum), errnum == EACCES ? ": " : "",
		errnum == EACCES ? MEND_ACCESS : "");
}

static int not_found(const struct finding *f, struct err *e)
{
	char asked[160];

	gpio_spec_text(f->spec, asked, sizeof(asked));
	if (f->found > 1)
		return err_set(e, ERR_BENCH,
			"%s is there twice: %s, and %s: say which by chip and line number", asked,
			f->place->where, f->also);
	if (f->refused[0])
		return err_set(e, ERR_BENCH, "%s: %s", asked, f->refused);
	if (!f->there[0])
		return err_set(e, ERR_BENCH,
			"%s: this host has no GPIO chip in %s: plug it in, or load its kernel "
			"module",
			asked, gpio_lib_dir());
	if (!f->chips)
		return err_set(e, ERR_BENCH,
			"%s: no GPIO chip of that name, label or path; there are %s", asked,
			f->there);
	if (!f->spec->name[0])
		return err_set(e, ERR_BENCH,
			"%s: the chip has no such line, they count from 0 (`gpioinfo` lists them)",
			asked);
	return err_set(e, ERR_BENCH, "%s: no line has that name (`gpioinfo` lists them) on %s",
		asked, f->spec->chip[0] ? f->spec->chip : f->there);
}

/* The chip is named by its file: in the folder of devices, or a path. False: there is none. */
static bool look_at_file(struct finding *f)
{
	struct gpio_chip_info info;
	struct gpio_chip *chip;
	char path[PATH_MAX];
	struct stat st;
	int ret;

	if (f->spec->chip[0] == '/')
		snprintf(path, sizeof(path), "%s", f->spec->chip);
	else
		snprintf(path, sizeof(path), "%s/%s", gpio_lib_dir(), f->spec->chip);
	if (!f->spec->chip[0] || stat(path, &st) != 0)
		return false;
	ret = gpio_lib_chip_open(path, &chip, &info);
	if (ret == 0) {
		name_chip(&info, f->there, sizeof(f->there));
		look_on(f, path, chip, &info);
	} else {
		refuse(f, path, -ret);
	}
	return true;
}

int gpio_find(const struct gpio_spec *spec, struct gpio_place *place, struct gpio_chip **chip,
	struct err *e)
{
	struct finding f = {.spec = spec, .place = place};

	if (!look_at_file(&f))
		walk_chips(&(struct chip_walk){see, refuse, &f});
	if (f.found == 1) {
		*chip = f.chip;
		return 0;
	}
	gpio_lib_chip_close(f.chip);
	return not_found(&f, e);
}

/* --- listing ---------------------------------------------------------------------------------- */

struct listing {
	json_t *found;
};

/* A line to put into the example: one that is called a relay, else the first that is free. */
static int likely_line(struct gpio_chip *chip, const struct gpio_chip_info *info,
	struct gpio_line_info *line, bool *named)
{
	int first = -1;

	*named = false;
	for (unsigned i = 0; i < info->lines; i++) {
		if (gpio_lib_line_info(chip, i, line) != 0 || line->used)
			continue;
		if (strcasestr(line->name, "relay")) {
			*named = true;
			return (int)i;
		}
		if (first < 0)
			first = (int)i;
	}
	return first;
}

static void list(
	void *arg, const char *path, struct gpio_chip *chip, const struct gpio_chip_info *info)
{
	const struct listing *l = arg;
	struct gpio_line_info line;
	bool named;
	int number = likely_line(chip, info, &line, &named);
	char what[160], conf[200], of[80];
	json_t *entry;

	name_chip(info, of, sizeof(of));
	snprintf(what, sizeof(what), "GPIO chip %s, %u lines", of, info->lines);
	if (named)
		snprintf(conf, sizeof(conf),
			"power = { driver = \"gpio-relay\", line_name = \"%s\" },", line.name);
	else
		snprintf(conf, sizeof(conf),
			"power = { driver = \"gpio-relay\", chip = \"%s\", line = %d },",
			info->label, number < 0 ? 0 : number);
	entry = json_pack("{s:s, s:s, s:s}", "what", what, "at", path, "conf", conf);
	if (entry && number < 0)
		json_object_set_new(entry, "mend",
			json_string("all of its lines are in use: end what holds them "
				    "(`gpioinfo` names it)"));
	json_array_append_new(l->found, entry);
	gpio_lib_chip_close(chip);
}

static void list_refused(void *arg, const char *path, int errnum)
{
	const struct listing *l = arg;
	char mend[256];

	snprintf(mend, sizeof(mend), "it cannot be opened: %s%s", strerror(errnum),
		errnum == EACCES ? ": " MEND_ACCESS : "");
	json_array_append_new(l->found,
		json_pack("{s:s, s:s, s:s, s:s}", "what", "GPIO chip", "at", path, "conf",
			"power = { driver = \"gpio-relay\", chip = \"LABEL\", line = 0 },", "mend",
			mend));
}

int gpio_scan(json_t *found, struct err *e)
{
	struct listing l = {found};

	(void)e;
	walk_chips(&(struct chip_walk){list, list_refused, &l});
	return 0;
}
