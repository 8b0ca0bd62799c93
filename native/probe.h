/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef JAILRUN_PROBE_H
#define JAILRUN_PROBE_H

/* Where `oci verify` puts this program into a container: the argument 0 by which it knows what it is. */
#define PROBE_NAME "/jail-probe"

/*
 * What `oci verify` runs in a container: says whether its own task is jailed, and whether the jail denies
 * what every role denies, to list the bpffs at the path in argv[1]. Lines on standard output, "jailed: WORD";
 * the last one's word is
 * - held: jailed, and denied
 * - trying: jailed, and killed for it
 * - audited: jailed, and not denied
 * - unjailed: in no pod
 * - unknown: the kernel's answer is neither, or there is no bpffs
 * and the status 0 for the first of them only.
 */
int probe(int argc, char *argv[]);

#endif
