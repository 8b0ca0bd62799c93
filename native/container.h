/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef JAILRUN_CONTAINER_H
#define JAILRUN_CONTAINER_H

#include <stdbool.h>

#include "launcher.h"

/* Whether this is the hook for OCI runtimes. */
bool is_container_hook(int argc, char *argv[]);

/*
 * The hook without the launcher: jails a container that is like one before (struct jr_template), as oci.ts
 * and container.ts do, and takes away the pod of one that has ended without a denial. False, with nothing
 * done, in any doubt: then the launcher is to think, and finds on standard input what there was.
 */
bool handle_container(const struct launcher *launcher);

#endif
