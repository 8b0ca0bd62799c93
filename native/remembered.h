/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef JAILRUN_REMEMBERED_H
#define JAILRUN_REMEMBERED_H

#include <stdbool.h>

#include "launcher.h"
#include "pod.h"

/*
 * The start without the launcher: where it has made one with the same options, has written down what it
 * looked at, and all of that is as it was, the front makes the same pod again. True with a pod for the
 * command. False, with nothing done, in any doubt: then the launcher is to think, and to say what is wrong.
 */
bool make_remembered_pod(struct pod *pod, const struct launcher *launcher, int argc, char *argv[]);

#endif
