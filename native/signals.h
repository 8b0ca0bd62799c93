/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The kernel's signal sets. libc's own leave out signals 32 and 33, which it needs for threads; a
 * command may have them blocked all the same, and somebody may send them.
 */
#ifndef JAILRUN_SIGNALS_H
#define JAILRUN_SIGNALS_H

#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/syscall.h>
#include <unistd.h>

/* Signal n is bit n - 1. */
typedef uint64_t signal_set;

enum { SIGNAL_COUNT = 64 };

static const signal_set every_signal = ~(signal_set)0;

static inline signal_set signal_bit(int number)
{
	return (signal_set)1 << (number - 1);
}

/* Blocks exactly `blocked`. */
static inline void set_blocked(signal_set blocked)
{
	syscall(SYS_rt_sigprocmask, SIG_SETMASK, &blocked, NULL, sizeof(blocked));
}

static inline signal_set get_blocked(void)
{
	signal_set blocked = 0;

	syscall(SYS_rt_sigprocmask, SIG_BLOCK, NULL, &blocked, sizeof(blocked));
	return blocked;
}

static inline signal_set get_pending(void)
{
	signal_set pending = 0;

	syscall(SYS_rt_sigpending, &pending, sizeof(pending));
	return pending;
}

/* Takes a pending signal of `wanted`, waiting as long as `timeout` says, NULL for ever. -1: none came. */
static inline int take_signal(signal_set wanted, siginfo_t *info, const struct timespec *timeout)
{
	return syscall(SYS_rt_sigtimedwait, &wanted, info, timeout, sizeof(wanted));
}

#endif
