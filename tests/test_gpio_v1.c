/*
 * The drivers on GPIO lines, made with libgpiod 1.6.
 */
#define FAKE_GPIOD 1
#include "gpio_cases.h"

int main(void)
{
	return run_cases();
}
