/* SPDX-License-Identifier: LGPL-2.1-or-later */
#define _GNU_SOURCE
#include "newrole.h"

#include <linux/bpf.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "map.h"

enum { IDLE_ROLES = 64 }; /* as in kernel.ts */

static int compare(const void *one, const void *other)
{
	__u64 a = *(const __u64 *)one, b = *(const __u64 *)other;

	return (a > b) - (a < b);
}

/* The keys of a map, in memory that is the caller's. NULL where they cannot be told. */
static __u64 *list_keys(int map, size_t most, size_t *count)
{
	__u64 *keys = malloc(most * sizeof(*keys));

	*count = 0;
	/* Where a key is deleted meanwhile the kernel starts again at the first one. */
	while (keys && *count < most && next_key(map, *count > 0 ? &keys[*count - 1] : NULL, &keys[*count]))
		++*count;
	if (*count < most)
		return keys;
	free(keys);
	return NULL;
}

/* The roles of all pods, those that are still to come, too. */
static __u64 *list_used(int pods, size_t *count)
{
	size_t keys_count;
	__u64 *keys = list_keys(pods, 2 * JR_MAX_PODS, &keys_count);
	__u64 *used = keys ? malloc((2 * keys_count + 1) * sizeof(*used)) : NULL;

	*count = 0;
	for (size_t i = 0; used && i < keys_count; i++) {
		struct jr_pod pod;

		if (!look_up(pods, &keys[i], &pod))
			continue;
		used[(*count)++] = pod.role;
		used[(*count)++] = pod.next_role;
	}
	free(keys);
	if (used)
		qsort(used, *count, sizeof(*used), compare);
	return used;
}

/* Finds up to two roles that no pod has. False where that cannot be told. */
static bool find_idle(const struct role_maps *maps, __u64 coming, __u64 idle[2], int *found)
{
	size_t role_count, used_count;
	__u64 *roles = list_keys(maps->roles, 2 * JR_MAX_ROLES, &role_count), *used = NULL;
	bool told = roles;

	*found = 0;
	if (roles && role_count >= IDLE_ROLES) {
		used = list_used(maps->pods, &used_count);
		told = used;
		for (size_t i = 0; used && i < role_count && *found < 2; i++)
			if (roles[i] != coming && (*found == 0 || roles[i] != idle[0]) &&
			    !bsearch(&roles[i], used, used_count, sizeof(*used), compare))
				idle[(*found)++] = roles[i];
	}
	free(roles);
	free(used);
	return told;
}

static bool remove_role(const struct role_maps *maps, __u64 digest)
{
	struct jr_role nothing = {0};

	return update(maps->roles, &digest, &nothing) && delete_key(maps->rules, &digest) &&
	       delete_key(maps->globs, &digest) && delete_key(maps->roles, &digest);
}

static int make_rules(const struct new_role *role)
{
	static const struct inner_map kind = {BPF_MAP_TYPE_HASH, "rules", sizeof(struct jr_rule_key),
					      sizeof(struct jr_rule), 0};

	return make_inner_map(&kind, role->keys, role->values, role->entries);
}

static int make_globs(const struct new_role *role)
{
	static const struct inner_map kind = {BPF_MAP_TYPE_ARRAY, "globs", sizeof(__u32),
					      sizeof(struct jr_glob_row), BPF_F_INNER_MAP};
	__u32 *numbers = malloc(role->rows * sizeof(*numbers));
	int globs;

	if (!numbers)
		return -1;
	for (__u32 i = 0; i < role->rows; i++)
		numbers[i] = i;
	globs = make_inner_map(&kind, numbers, role->globs, role->rows);
	free(numbers);
	return globs;
}

/*
 * Puts both maps into the maps of maps. Each of these calls waits for an RCU grace period
 * (maybe_wait_bpf_programs() in kernel/bpf/syscall.c), so a child makes one of them, and both wait for the
 * same one.
 */
static bool put_both(const struct role_maps *maps, __u64 digest, int rules, int globs)
{
	pid_t child = fork();
	int status;
	bool put;

	if (child == 0)
		_exit(update(maps->globs, &digest, &globs) ? 0 : 1);
	put = update(maps->rules, &digest, &rules);
	if (child < 0)
		return put && update(maps->globs, &digest, &globs);
	return waitpid(child, &status, 0) == child && status == 0 && put;
}

static bool put_maps(const struct role_maps *maps, const struct new_role *role)
{
	int rules = make_rules(role), globs = role->rows > 0 ? make_globs(role) : -1;
	bool put = rules >= 0 && (role->rows == 0 || globs >= 0);

	if (put && role->rows > 0)
		put = put_both(maps, role->digest, rules, globs);
	else if (put)
		put = update(maps->rules, &role->digest, &rules);
	if (rules >= 0)
		close(rules);
	if (globs >= 0)
		close(globs);
	return put;
}

bool install_role(const struct role_maps *maps, const struct new_role *role)
{
	struct jr_role form, nothing = {0};
	__u64 idle[2];
	int count;

	if (look_up(maps->roles, &role->digest, &form) && form.id != 0)
		return true;
	if (!find_idle(maps, role->digest, idle, &count) || !update(maps->roles, &role->digest, &nothing) ||
	    !put_maps(maps, role) || !update(maps->roles, &role->digest, &role->form))
		return false;
	for (int i = 0; i < count; i++)
		if (!remove_role(maps, idle[i]))
			return false;
	return true;
}
