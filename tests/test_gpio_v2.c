/*
 * The drivers on GPIO lines, made with libgpiod 2.
 */
#define FAKE_GPIOD 2
#include "gpio_cases.h"

int main(void)
{
	return run_cases();
}
