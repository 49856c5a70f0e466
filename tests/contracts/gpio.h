/* What the contracts of the drivers on GPIO lines share: two chips (tests/fake_gpio.h). */
#ifndef TESTS_CONTRACTS_GPIO_H
#define TESTS_CONTRACTS_GPIO_H

#include "../driver_contract.h"
#include "../fake_gpio.h"

static inline void *gpio_setup(struct driver_env *env)
{
	env->capability = "device";
	return fake_boot();
}

static inline void gpio_teardown(void *bench)
{
	fake_halt(bench);
}

/* chip and line are those of the contract's options. */
static inline bool gpio_break_open(unsigned chip, unsigned line, unsigned step, json_t *options)
{
	switch (step) {
	case 0:
		fake_unplug(chip);
		return true;
	case 1:
		json_object_set_new(options, "line_name", json_string("NO_SUCH_LINE"));
		return true;
	case 2:
		fake_kernel->chip[0].refuse = fake_kernel->chip[1].refuse = EACCES;
		return true;
	case 3:
		fake_kernel->chip[chip].line[line].used = true;
		return true;
	case 4:
		fake_kernel->chip[chip].line[line].refuse = EINVAL;
		return true;
	default:
		return false;
	}
}

static inline void gpio_mend(void *bench)
{
	struct fake_kernel *k = bench;

	for (unsigned i = 0; i < FAKE_CHIPS; i++) {
		fake_plug(i);
		k->chip[i].refuse = 0;
		for (unsigned j = 0; j < FAKE_LINES; j++) {
			k->chip[i].line[j].refuse = 0;
			k->chip[i].line[j].used = false; /* nothing is open when it is mended */
		}
	}
	fake_wire(0, 1, 0);
}

#endif
