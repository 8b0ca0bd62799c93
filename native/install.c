/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * First all that a bundle brings is written beside its places, in directories of their own, where nobody
 * looks for it and a full disk does no harm. Node, where there is one, then checks the policies as they will
 * be. Last comes a rename for each place: jailrun's own directory changes as a whole, so that there is never
 * one version's launcher with another's programs, and each policy and hook is the old or the new one. Where a
 * rename fails, those before it are taken back.
 *
 * One that is killed before its renames changes nothing. Between them, with signals blocked, only SIGKILL and
 * a loss of power can stop it; then some places are new and some old, each whole, and running it again
 * completes it. Jailrun's own directory is the last one, since its manifest says which policies and hooks are
 * a bundle's to replace.
 */
#define _GNU_SOURCE
#include "install.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/openat2.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bundle.h"
#include "launcher.h"
#include "message.h"

/* Where things are written first, in the directory of their place, whose readers pass over it. */
#define STAGE ".jailrun-install"

static const struct voice voice = {.fd = STDERR_FILENO};

/* The directories in which something changes, in the order in which it does. */
enum directory { POLICIES, HOOKS, COMMANDS, LIBRARY, DIRECTORIES };

static const char *const paths[DIRECTORIES] = {
    [POLICIES] = "etc/jailrun/policy.d",
    /* podman looks nowhere else unless it is told to: oci-hooks(5). */
    [HOOKS] = "usr/share/containers/oci/hooks.d",
    [COMMANDS] = "usr/local/bin",
    [LIBRARY] = "usr/local/lib",
};

static const enum directory directory_of[BUNDLE_PLACES] = {
    [BUNDLE_HOOK] = HOOKS, [BUNDLE_PROGRAM] = LIBRARY, [BUNDLE_POLICY] = POLICIES};

/* Of jailrun's directory below LIBRARY and its link below COMMANDS. */
#define OWN_NAME "jailrun"
#define OWN_LINK "../lib/jailrun/jailrun"

enum {
	TEXT_SIZE = 1 << 20, /* of a policy, hook or manifest */
	MADE = 16,           /* more than there are components in the paths */
	CHANGES = 2 * BUNDLE_FILES + 2,
};

static const char help[] = "Usage: jailrun bundle install [options] FILE\n\n"
			   "Install a bundle, all of it or nothing; needs no Node.js.\n\n"
			   "Options:\n"
			   "  --dry-run         check it all, say what would change, and change nothing\n"
			   "  --root DIRECTORY  install below it\n"
			   "  -h, --help        show this help\n";

/* One rename. */
struct change {
	enum directory directory;
	char name[NAME_MAX + 1];
	enum { ADD, REPLACE, REMOVE } kind;
};

struct text {
	unsigned char *bytes; /* and a NUL */
	size_t size;
};

static struct installation {
	char root[PATH_MAX]; /* without a slash at its end */
	int root_fd;
	int directories[DIRECTORIES]; /* -1: nothing changes there */
	int stages[DIRECTORIES];
	char made[MADE][PATH_MAX]; /* directories that were not there */
	int made_count;
	struct change changes[CHANGES];
	int change_count;
	int order[CHANGES]; /* in which they were made */
	struct bundle bundle;
	struct text manifest; /* of what is installed; empty where that came from no bundle */
} to;

/* For a system call that failed. */
static bool fail(const char *what, const char *path)
{
	complain(voice, "INSTALL", "Nothing was installed: %s %s/%s: %s", what, to.root, path,
		 strerror(errno));
	return false;
}

static bool refuse(enum directory directory, const char *name, const char *why)
{
	complain(voice, "INSTALL", "Nothing was installed: %s/%s%s%s %s", to.root, paths[directory],
		 *name ? "/" : "", name, why);
	return false;
}

/* Opens a directory below the root; links in its path lead nowhere else. */
static int open_below(const char *path)
{
	struct open_how how = {.flags = O_RDONLY | O_DIRECTORY | O_CLOEXEC, .resolve = RESOLVE_IN_ROOT};

	return syscall(SYS_openat2, to.root_fd, path, &how, sizeof(how));
}

/* Removes what there is by this name, and all below it. */
static void remove_tree(int parent, const char *name)
{
	int fd = openat(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	DIR *list = fd < 0 ? NULL : fdopendir(fd);
	struct dirent *entry;

	if (!list) {
		unlinkat(parent, name, 0);
		return;
	}
	while ((entry = readdir(list)))
		if (strcmp(entry->d_name, ".") && strcmp(entry->d_name, ".."))
			remove_tree(fd, entry->d_name);
	closedir(list);
	unlinkat(parent, name, AT_REMOVEDIR);
}

static bool make_directory(int parent, const char *path)
{
	const char *slash = strrchr(path, '/');

	if (mkdirat(parent, slash ? slash + 1 : path, 0755) < 0)
		return errno == EEXIST;
	strcpy(to.made[to.made_count++], path);
	return true;
}

/* Whoever else may write it could put something else into the place of what is written there. */
static bool is_own(int fd)
{
	struct stat stat;

	return fstat(fd, &stat) == 0 && stat.st_uid == geteuid() && !(stat.st_mode & 022);
}

/* Opens a directory and what it needs to write there, and makes what is missing of its path. */
static bool open_directory(enum directory directory)
{
	const char *path = paths[directory];
	int fd;

	if (to.stages[directory] >= 0)
		return true;
	fd = open_below(".");
	for (size_t length = 0; fd >= 0 && length < strlen(path) + 1;) {
		char part[PATH_MAX];
		int parent = fd;

		length += strcspn(path + length, "/");
		snprintf(part, sizeof(part), "%.*s", (int)length++, path);
		fd = open_below(part);
		if (fd < 0 && errno == ENOENT && make_directory(parent, part))
			fd = open_below(part);
		close(parent);
		if (fd >= 0 && !is_own(fd))
			return refuse(directory, "",
				      "is, or lies in, what others can write or own. Make it root's alone");
	}
	if (fd < 0)
		return fail("no directory", path);
	to.directories[directory] = fd;
	/* One that was killed has left its own. */
	remove_tree(fd, STAGE);
	if (mkdirat(fd, STAGE, 0700) < 0)
		return fail("cannot write into", path);
	to.stages[directory] = openat(fd, STAGE, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	return to.stages[directory] >= 0 || fail("cannot write into", path);
}

static bool write_file(int directory, const struct bundle_file *file)
{
	int fd =
	    openat(directory, file->name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, file->mode);
	size_t done = 0;

	while (fd >= 0 && done < file->size) {
		ssize_t count = write(fd, file->bytes + done, file->size - done);

		if (count < 0 && errno != EINTR)
			break;
		done += count > 0 ? count : 0;
	}
	return fd >= 0 && done == file->size && close(fd) == 0;
}

/* Reads a regular file of ours. Without bytes where there is none, or none that is such a file. */
static struct text read_text(int directory, const char *path)
{
	struct text text = {0};
	int fd = openat(directory, path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	struct stat stat;
	ssize_t count;

	if (fd >= 0 && fstat(fd, &stat) == 0 && S_ISREG(stat.st_mode) && stat.st_size <= TEXT_SIZE) {
		text.bytes = calloc(1, stat.st_size + 1);
		count = text.bytes ? read(fd, text.bytes, stat.st_size) : -1;
		text.size = count < 0 ? 0 : count;
	}
	if (fd >= 0)
		close(fd);
	return text;
}

static void note(enum directory directory, const char *name, int kind)
{
	struct change *change = &to.changes[to.change_count++];

	change->directory = directory;
	change->kind = kind;
	snprintf(change->name, sizeof(change->name), "%s", name);
}

/* Whether a file that is there is a bundle's: what the installed manifest says, or this one brings. */
static bool is_ours(const struct bundle_file *installed, const struct bundle_file *brought)
{
	char line[BUNDLE_LINE];

	if (brought && brought->size == installed->size &&
	    memcmp(brought->bytes, installed->bytes, installed->size) == 0)
		return true;
	write_manifest_line(installed, line);
	return to.manifest.bytes && strstr((const char *)to.manifest.bytes, line);
}

/*
 * Plans the change of a policy or hook, of which `brought` is the new one, if any. What somebody else wrote,
 * or has changed since, is not a bundle's to replace or remove.
 */
static bool plan_text(enum bundle_place place, const char *name, const struct bundle_file *brought)
{
	enum directory directory = directory_of[place];
	struct stat stat;
	struct text text;
	bool ours;

	if (!open_directory(directory))
		return false;
	if (fstatat(to.directories[directory], name, &stat, AT_SYMLINK_NOFOLLOW) < 0) {
		if (errno != ENOENT)
			return fail("cannot look into", paths[directory]);
		if (brought)
			note(directory, name, ADD);
	} else {
		text = read_text(to.directories[directory], name);
		ours = text.bytes && is_ours(&(struct bundle_file){.place = place,
								   .name = name,
								   .bytes = text.bytes,
								   .size = text.size},
					     brought);
		free(text.bytes);
		if (!ours)
			return refuse(
			    directory, name,
			    "is not as a bundle left it. Put the change into the bundle's, and move "
			    "this one away");
		note(directory, name, brought ? REPLACE : REMOVE);
	}
	return !brought || write_file(to.stages[directory], brought) ||
	       fail("cannot write into", paths[directory]);
}

/* Plans the removal of the policies and hooks that the bundle before brought, and this one does not. */
static bool plan_removals(void)
{
	const char *line = (const char *)to.manifest.bytes;

	for (; line; line = strchr(line, '\n') ? strchr(line, '\n') + 1 : NULL) {
		enum bundle_place place;
		char name[NAME_MAX + 1];
		bool brought = false;

		if (!read_manifest_line(line, &place, name))
			continue;
		for (size_t i = 0; i < to.bundle.count; i++)
			brought |=
			    to.bundle.files[i].place == place && !strcmp(to.bundle.files[i].name, name);
		for (int i = 0; i < to.change_count; i++)
			brought |= to.changes[i].directory == directory_of[place] &&
				   !strcmp(to.changes[i].name, name);
		if (!brought && to.change_count == CHANGES - 2)
			return refuse(LIBRARY, OWN_NAME, "has a manifest that no bundle has. Remove that");
		if (!brought && !plan_text(place, name, NULL))
			return false;
	}
	return true;
}

/* Whether the directory is jailrun's, or empty. */
static bool is_jailrun(int directory)
{
	DIR *list = fdopendir(dup(directory));
	struct dirent *entry;
	bool empty = true;

	while (list && (entry = readdir(list)))
		empty &= !strcmp(entry->d_name, ".") || !strcmp(entry->d_name, "..");
	if (list)
		closedir(list);
	return empty || faccessat(directory, "launcher.cjs", F_OK, AT_SYMLINK_NOFOLLOW) == 0;
}

/* Plans the change of jailrun's own directory, as a whole. */
static bool plan_program(void)
{
	int own = openat(to.directories[LIBRARY], OWN_NAME, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	bool there = own >= 0;
	int stage;

	if (!there && errno != ENOENT)
		return refuse(LIBRARY, OWN_NAME, "is no directory. Move it away");
	if (there && !is_jailrun(own))
		return refuse(LIBRARY, OWN_NAME, "holds something other than jailrun. Move it away");
	if (there)
		close(own);
	note(LIBRARY, OWN_NAME, there ? REPLACE : ADD);
	if (mkdirat(to.stages[LIBRARY], OWN_NAME, 0755) < 0)
		return fail("cannot write into", paths[LIBRARY]);
	stage = openat(to.stages[LIBRARY], OWN_NAME, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (stage < 0 || !write_file(stage, &to.bundle.manifest))
		return fail("cannot write into", paths[LIBRARY]);
	for (size_t i = 0; i < to.bundle.count; i++)
		if (to.bundle.files[i].place == BUNDLE_PROGRAM && !write_file(stage, &to.bundle.files[i]))
			return fail("cannot write into", paths[LIBRARY]);
	close(stage);
	return true;
}

/* Plans the link by which shells find jailrun. */
static bool plan_command(void)
{
	char link[sizeof(OWN_LINK)] = "";
	ssize_t length = readlinkat(to.directories[COMMANDS], OWN_NAME, link, sizeof(link));

	if (length == (ssize_t)strlen(OWN_LINK) && memcmp(link, OWN_LINK, length) == 0)
		return true;
	if (length >= 0 || errno != ENOENT)
		return refuse(COMMANDS, OWN_NAME, "is not the link to " OWN_LINK ". Move it away");
	note(COMMANDS, OWN_NAME, ADD);
	return symlinkat(OWN_LINK, to.stages[COMMANDS], OWN_NAME) == 0 ||
	       fail("cannot write into", paths[COMMANDS]);
}

/* Reads what is installed, writes what will be, and plans the renames in their order. */
static bool prepare(void)
{
	if (!open_directory(LIBRARY) || !open_directory(COMMANDS))
		return false;
	to.manifest = read_text(to.directories[LIBRARY], OWN_NAME "/" BUNDLE_MANIFEST);
	for (size_t i = 0; i < to.bundle.count; i++) {
		const struct bundle_file *file = &to.bundle.files[i];

		if (file->place != BUNDLE_PROGRAM && !plan_text(file->place, file->name, file))
			return false;
	}
	return plan_removals() && plan_command() && plan_program();
}

/* Whether the change takes away, or brings anew, a policy that lies there now. */
static bool is_changed(const char *name)
{
	for (int i = 0; i < to.change_count; i++)
		if (to.changes[i].directory == POLICIES && strcmp(to.changes[i].name, name) == 0)
			return true;
	return false;
}

/* The policies as they will be, as words for check(); as many as there is room for. */
static size_t list_policies(char **words, size_t room)
{
	int parent = open_below("etc/jailrun"), directory = open_below(paths[POLICIES]);
	DIR *list = directory < 0 ? NULL : fdopendir(directory);
	struct dirent *entry;
	size_t count = 0;

	if (parent >= 0 && faccessat(parent, "policy.yaml", F_OK, AT_SYMLINK_NOFOLLOW) == 0)
		count += asprintf(&words[count], "%s/etc/jailrun/policy.yaml", to.root) > 0;
	close(parent);

	for (int i = 0; i < to.change_count && count < room; i++)
		if (to.changes[i].directory == POLICIES && to.changes[i].kind != REMOVE)
			count += asprintf(&words[count], "%s/%s/" STAGE "/%s", to.root, paths[POLICIES],
					  to.changes[i].name) > 0;
	while (list && count < room && (entry = readdir(list))) {
		const char *end = strrchr(entry->d_name, '.');

		if (*entry->d_name != '.' && end && (!strcmp(end, ".yaml") || !strcmp(end, ".json")) &&
		    !is_changed(entry->d_name))
			count +=
			    asprintf(&words[count], "%s/%s/%s", to.root, paths[POLICIES], entry->d_name) > 0;
	}
	if (list)
		closedir(list);
	return count;
}

/* Prints what a program said. */
static void pass_on(int text)
{
	char part[4096];
	ssize_t count;

	lseek(text, 0, SEEK_SET);
	while ((count = read(text, part, sizeof(part))) > 0)
		if (write(STDERR_FILENO, part, count) < 0)
			return;
}

/* Has the launcher that is brought check the policies that will be in use, all together. */
static bool check(void)
{
	static char *words[4096] = {"jailrun", "check"};
	const size_t room = sizeof(words) / sizeof(*words) - 3;
	size_t count = list_policies(words + 2, room);
	int said = memfd_create("check", MFD_CLOEXEC);
	char front[2 * PATH_MAX];
	int status = -1;
	pid_t child;

	if (count == 0)
		return true;
	if (count == room)
		return refuse(POLICIES, "", "has too many policies to be checked. Make fewer of them");
	snprintf(front, sizeof(front), "%s/%s/" STAGE "/" OWN_NAME "/" OWN_NAME, to.root, paths[LIBRARY]);
	child = said < 0 ? -1 : fork();
	if (child == 0) {
		dup2(said, STDOUT_FILENO);
		dup2(said, STDERR_FILENO);
		execv(front, words);
		_exit(errno == ENOENT ? STATUS_NOT_FOUND : STATUS_NOT_INVOKED);
	}
	if (child > 0)
		waitpid(child, &status, 0);
	if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
		return true;
	pass_on(said);
	complain(
	    voice, "POLICY",
	    "Nothing was installed: the bundle's policies with those of this host would have the problems "
	    "said above, and no role would start. Mend them, and make the bundle anew");
	return false;
}

/* Carries a change out, or takes it back. */
static bool rename_one(const struct change *change, bool back)
{
	int stage = to.stages[change->directory], directory = to.directories[change->directory];
	bool out = (change->kind == REMOVE) != back;

	if (change->kind == REPLACE)
		return renameat2(stage, change->name, directory, change->name, RENAME_EXCHANGE) == 0;
	return renameat2(out ? directory : stage, change->name, out ? stage : directory, change->name,
			 RENAME_NOREPLACE) == 0;
}

static bool commit(void)
{
	sigset_t all;
	int done = 0, error;

	/* What is renamed must be on the disk before. */
	for (int i = 0; i < DIRECTORIES; i++)
		if (to.stages[i] >= 0 && syncfs(to.stages[i]) < 0)
			return fail("cannot write into", paths[i]);
	sigfillset(&all);
	sigprocmask(SIG_BLOCK, &all, NULL);
	/* The directories' order is that of the renames. */
	for (int directory = 0; directory < DIRECTORIES; directory++)
		for (int i = 0; i < to.change_count; i++) {
			if ((int)to.changes[i].directory != directory)
				continue;
			if (rename_one(&to.changes[i], false)) {
				to.order[done++] = i;
				continue;
			}
			error = errno;
			while (done > 0)
				if (!rename_one(&to.changes[to.order[--done]], true))
					complain(voice, "INSTALL", "%s/%s/%s cannot be taken back: %s",
						 to.root, paths[to.changes[to.order[done]].directory],
						 to.changes[to.order[done]].name, strerror(errno));
			errno = error;
			return fail("cannot change", paths[directory]);
		}
	for (int i = 0; i < DIRECTORIES; i++)
		if (to.directories[i] >= 0)
			fsync(to.directories[i]);
	return true;
}

/* Removes what is not needed any more: what was replaced, or what was to be installed. */
static void clean_up(bool installed)
{
	for (int i = 0; i < DIRECTORIES; i++)
		if (to.directories[i] >= 0)
			remove_tree(to.directories[i], STAGE);
	while (!installed && to.made_count > 0) {
		char *path = to.made[--to.made_count];
		char *slash = strrchr(path, '/');
		int parent;

		if (slash)
			*slash = '\0';
		parent = open_below(slash ? path : ".");
		unlinkat(parent, slash ? slash + 1 : path, AT_REMOVEDIR);
		close(parent);
	}
}

static void tell(bool installed, bool checked)
{
	static const char *const done[] = {[ADD] = "added", [REPLACE] = "replaced", [REMOVE] = "removed"};

	for (int i = 0; i < to.change_count; i++) {
		const struct change *change = &to.changes[i];

		printf("%s%s: %s/%s/%s", installed ? "" : "would be ", done[change->kind], to.root,
		       paths[change->directory], change->name);
		printf(change->directory == LIBRARY ? " (jailrun %s)\n" : "\n", to.bundle.version);
	}
	if (!checked)
		printf(
		    "note: there is no Node.js at %s, which attaching the programs and starting a role need; "
		    "the policies were checked when the bundle was made, not here\n",
		    JAILRUN_NODE);
	else if (installed)
		printf(
		    "To have it in force where programs are attached: jailrun attach, then jailrun reload\n");
	fflush(stdout);
}

static bool open_root(const char *root)
{
	if (!realpath(root, to.root))
		return fail("no directory", root);
	to.root_fd = open(to.root, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (to.root_fd < 0)
		return fail("no directory", "");
	if (strcmp(to.root, "/") == 0)
		*to.root = '\0';
	return true;
}

/* Two at a time would take each other's files away. */
static bool lock(void)
{
	return flock(open_below("."), LOCK_EX | LOCK_NB) == 0 || fail("another one is installed in", "");
}

static int usage(const char *why)
{
	complain(voice, "USAGE", "%s. Say: jailrun bundle install [--dry-run] [--root DIRECTORY] FILE", why);
	return STATUS_FAILED;
}

bool is_install(char *const arguments[])
{
	return arguments[0] && arguments[1] && !strcmp(arguments[0], "bundle") &&
	       !strcmp(arguments[1], "install");
}

int install(char *const arguments[])
{
	const char *root = "/", *file = NULL;
	bool dry = false, installed = false, node = access(JAILRUN_NODE, X_OK) == 0;
	bool whole;

	for (arguments += 2; *arguments; arguments++) {
		if (!strcmp(*arguments, "--help") || !strcmp(*arguments, "-h")) {
			fputs(help, stdout);
			return 0;
		}
		if (!strcmp(*arguments, "--dry-run"))
			dry = true;
		else if (!strcmp(*arguments, "--root") && arguments[1])
			root = *++arguments;
		else if (!strncmp(*arguments, "--root=", strlen("--root=")))
			root = *arguments + strlen("--root=");
		else if (**arguments == '-')
			return usage("There is no such option");
		else if (file)
			return usage("More than one file is named");
		else
			file = *arguments;
	}
	if (!file)
		return usage("No file is named");
	umask(022);
	memset(to.directories, -1, sizeof(to.directories));
	memset(to.stages, -1, sizeof(to.stages));
	if (!read_bundle(file, &to.bundle)) {
		complain(voice, "BUNDLE", "Nothing was installed: %s: %s. Make it anew: jailrun bundle", file,
			 *to.bundle.fault ? to.bundle.fault : strerror(errno));
		return STATUS_FAILED;
	}
	if (!open_root(root) || !lock())
		return STATUS_FAILED;
	whole = prepare() && (!node || check());
	if (whole && !dry)
		whole = installed = commit();
	clean_up(installed);
	if (!whole)
		return STATUS_FAILED;
	tell(installed, node);
	return 0;
}
