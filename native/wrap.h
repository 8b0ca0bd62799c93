/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef JAILRUN_WRAP_H
#define JAILRUN_WRAP_H

#include <stdbool.h>

/*
 * Whether this program is to act as an OCI runtime: it is called jailrun-runc or jailrun-crun, or its
 * arguments are `oci wrap …` without a question for help.
 */
bool is_wrapper(int argc, char *const argv[]);

/*
 * Becomes the real runtime, with every argument that was meant for it; before it makes a container, the
 * bundle's config.json gets the hook that jails it. Returns only on failure, after saying why, with the
 * status for it.
 */
int wrap(int argc, char *argv[]);

#endif
