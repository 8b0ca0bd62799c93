/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef JAILRUN_STARTS_H
#define JAILRUN_STARTS_H

#include <stdbool.h>
#include <stddef.h>

#include "abi.h"

/* The longest name of a file that the launcher leaves for the front. */
enum { START_NAME = 200 };

/*
 * Reads what the launcher has left under this name (remembered.ts), which begins with a head of `head` bytes
 * as struct jr_start and struct jr_template do. NULL where there is none, or where it is damaged, another
 * version's or not root's alone; otherwise its bytes, which are the caller's, and their number.
 */
char *read_start(const char *name, __u32 format, size_t head, size_t *size);

/* FNV-1a: of the bytes of the name, then of the 32-bit words up to `end`. */
__u32 checksum(const char *name, const char *bytes, const char *end);

/* Whether the programs are those that were attached when this was written: a whole struct jr_meta. */
bool are_same_programs(int meta, const __u8 *noted);

/* The policy file that the environment names; NULL where it names none. */
const char *policy_of_environment(void);

/* False where the launcher would do something for this process, or say something of it, that the front does
 * not. */
bool is_usual_caller(void);

#endif
