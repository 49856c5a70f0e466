/*
 * Synthetic logs that resemble an update by swap: an upload with a record for each page, then three
 * steps for each page with an erase, its words and one record, and the trailers' fields around.
 */
#ifndef TESTS_CAMPAIGN_LOGS_H
#define TESTS_CAMPAIGN_LOGS_H

#include "../rig/classes.h"
#include "../rig/cuts.h"
#include "../rig/err.h"

#include <stdlib.h>

#define LOG_PAGE 4096u
#define LOG_PRIMARY 0xc000u
#define LOG_SECONDARY 0x80000u
#define LOG_SCRATCH 0xf4000u
#define LOG_SETTINGS 0xfc000u
#define LOG_SLOT 0x74000u

static const struct cut_region log_regions[] = {
	{"bootloader", 0, 0xc000},
	{"primary", LOG_PRIMARY, LOG_SLOT},
	{"secondary", LOG_SECONDARY, LOG_SLOT},
	{"scratch", LOG_SCRATCH, 0x8000},
	{"settings", LOG_SETTINGS, 0x4000},
};

#define LOG_REGIONS (sizeof(log_regions) / sizeof(*log_regions))

static inline void log_add(struct oplog *log, struct oplog_op op)
{
	if ((log->count & (log->count - 1)) == 0)
		log->ops = realloc(log->ops, (log->count ? log->count * 2 : 1) * sizeof(*log->ops));
	if (!log->ops)
		abort();
	log->ops[log->count++] = op;
}

static inline void log_erase(struct oplog *log, uint32_t address, uint32_t boot)
{
	log_add(log,
		(struct oplog_op){
			.kind = OPLOG_ERASE, .address = address, .size = LOG_PAGE, .boot = boot});
}

static inline void log_words(struct oplog *log, uint32_t address, uint32_t count, uint32_t boot)
{
	for (uint32_t i = 0; i < count; i++)
		log_add(log, (struct oplog_op){.kind = OPLOG_PROGRAM,
				     .address = address + 4 * i,
				     .value = address,
				     .size = OPLOG_PROGRAM_SIZE,
				     .boot = boot});
}

/* An update of so many pages, of which each has so many words: about 4 × pages × (words + 2). */
static inline struct oplog log_update(uint32_t pages, uint32_t words)
{
	const uint32_t primary_end = LOG_PRIMARY + LOG_SLOT, end = LOG_SECONDARY + LOG_SLOT;
	struct oplog log = {0};

	log_erase(&log, end - LOG_PAGE, 0);
	log_words(&log, end - 76, 10, 0);
	for (uint32_t i = 0; i < pages; i++) {
		log_erase(&log, LOG_SECONDARY + i * LOG_PAGE, 0);
		log_words(&log, LOG_SECONDARY + i * LOG_PAGE, words, 0);
		log_words(&log, end - LOG_PAGE + 4 * i, 1, 0);
	}
	log_words(&log, end - 28, 1, 0);
	log_words(&log, end - 16, 4, 0);
	log_erase(&log, primary_end - LOG_PAGE, 1);
	log_words(&log, primary_end - 32, 2, 1);
	log_words(&log, primary_end - 16, 4, 1);
	log_words(&log, end - 36, 1, 1);
	for (uint32_t i = 0; i < pages; i++) {
		const uint32_t to[] = {LOG_SCRATCH + i % 8 * LOG_PAGE, LOG_PRIMARY + i * LOG_PAGE,
			LOG_SECONDARY + i * LOG_PAGE};

		for (uint32_t step = 0; step < 3; step++) {
			log_erase(&log, to[step], 1);
			log_words(&log, to[step], words, 1);
			log_words(&log, primary_end - LOG_PAGE + 4 * (3 * i + step), 1, 1);
		}
	}
	log_words(&log, primary_end - 24, 1, 1);
	log_words(&log, end - 16, 4, 1);
	log_erase(&log, end - LOG_PAGE, 1);
	log_words(&log, primary_end - 20, 1, 1);
	return log;
}

/* Stops the test program when memory or the classes are at fault. */
static inline struct classes log_classes(const struct oplog *log)
{
	struct classes classes;
	struct err e;

	if (classes_init(&classes, log, log_regions, LOG_REGIONS, LOG_PAGE, &e) != 0)
		abort();
	return classes;
}

#endif
