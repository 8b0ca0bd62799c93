/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Stands for node behind the front of tests, as the loader of a node that was installed with jailrun
 * (native/launcher.c): node is what it becomes, but for a report of denials. That it hands to the tests as
 * the kernel has it, a line of JSON with bytes in hexadecimal, and they make the report, since an emulated
 * kernel takes a second to start node.
 */
#define _GNU_SOURCE
#include <linux/bpf.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "abi.h"

enum {
	/* The loader's words: --library-path lib NODE SCRIPT report-denials STATE. */
	NODE = 3,
	SUBCOMMAND = 5,
	STATE = 6,
	/* As report.ts has them. */
	COUNTERS_FD = 3,
	DENIALS_FD = 4,
};

static int look_up(int map, const void *key, void *value)
{
	union bpf_attr attributes = {
	    .map_fd = map,
	    .key = (uintptr_t)key,
	    .value = (uintptr_t)value,
	};

	return syscall(SYS_bpf, BPF_MAP_LOOKUP_ELEM, &attributes, sizeof(attributes)) == 0;
}

static void print_bytes(const void *bytes, size_t size, const char *before)
{
	fprintf(stderr, "%s\"", before);
	for (size_t i = 0; i < size; i++)
		fprintf(stderr, "%02x", ((const unsigned char *)bytes)[i]);
	fputs("\"", stderr);
}

/* The second line of a state file says which pod it is. */
static int report(const char *path)
{
	static char text[1 << 20];
	FILE *file = fopen(path, "re");
	size_t size = file ? fread(text, 1, sizeof(text) - 1, file) : 0;
	const char *line = strstr(text, "\n{\"id\":\"");
	struct jr_denial_key key = {0};
	struct jr_counters counters;
	int denials = 0;

	if (!line || size == sizeof(text) - 1)
		return 1;
	key.pod = strtoull(line + strlen("\n{\"id\":\""), NULL, 10);
	if (!look_up(COUNTERS_FD, &key.pod, &counters))
		return 1;
	fputs("{\"version\":1,\"type\":\"raw\"", stderr);
	print_bytes(text, size, ",\"state\":");
	print_bytes(&counters, sizeof(counters), ",\"counters\":");
	fputs(",\"denials\":[", stderr);
	while (key.slot < counters.kept && key.slot < counters.keep) {
		struct jr_denial denial;

		key.slot++;
		if (!look_up(DENIALS_FD, &key, &denial))
			continue;
		print_bytes(&denial, sizeof(denial), denials++ > 0 ? "," : "");
	}
	fputs("]}\n", stderr);
	return 0;
}

int main(int argc, char *argv[])
{
	static char buffer[1 << 16];

	setvbuf(stderr, buffer, _IOFBF, sizeof(buffer));
	if (argc > STATE && strcmp(argv[SUBCOMMAND], "report-denials") == 0)
		return report(argv[STATE]) || fflush(stderr);
	execv(argv[NODE], argv + NODE);
	return 125;
}
