/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef JAILRUN_INSTALL_H
#define JAILRUN_INSTALL_H

#include <stdbool.h>

/* Whether the arguments, behind jailrun's own name, are `bundle install …`. */
bool is_install(char *const arguments[]);

/*
 * Installs a bundle as its arguments say: all of it, or nothing. It is the one subcommand that needs no node,
 * which the host may not have. Says what it did on standard output; returns an exit status, 125 with a
 * message where it failed.
 */
int install(char *const arguments[]);

#endif
