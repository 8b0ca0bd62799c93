/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* In a guest that counts (scripts/vm.mjs) a tick of the time-stamp counter is one instruction. */
#ifndef JAILRUN_COUNTER_H
#define JAILRUN_COUNTER_H

#include <stdlib.h>
#include <x86intrin.h>

static inline unsigned long long now(void)
{
	unsigned long long ticks;

	_mm_lfence();
	ticks = __rdtsc();
	_mm_lfence();
	return ticks;
}

static int compare_ticks(const void *a, const void *b)
{
	unsigned long long x = *(const unsigned long long *)a, y = *(const unsigned long long *)b;

	return (x > y) - (x < y);
}

static inline void sort_ticks(unsigned long long *ticks, int count)
{
	qsort(ticks, count, sizeof(*ticks), compare_ticks);
}

#endif
