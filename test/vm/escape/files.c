// Ways through files: to what is denied, and by what is left for others to act upon.
#include "escape.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

/* handle FILE: by its handle, from what the handle was made for */
static const char *handle(void)
{
	struct {
		struct file_handle head;
		unsigned char bytes[128];
	} handle = {.head.handle_bytes = sizeof(handle.bytes)};
	int mount;

	if (name_to_handle_at(AT_FDCWD, argument[0], &handle.head, &mount, 0))
		return NULL;
	return secret_in(open_by_handle_at(open("/mnt/ext4", O_RDONLY), &handle.head, O_RDONLY));
}

/* race FILE DIRECTORY: opens a name that is now one file and now another */
static const char *race(void)
{
	char own[256], name[256];
	const char *read = NULL;
	pid_t swapper;

	snprintf(own, sizeof(own), "%s/own", argument[1]);
	snprintf(name, sizeof(name), "%s/name", argument[1]);
	if (open(own, O_RDWR | O_CREAT, 0600) < 0)
		return NULL;
	swapper = fork();
	while (swapper == 0) {
		unlink(name);
		symlink(own, name);
		unlink(name);
		symlink(argument[0], name);
	}
	for (time_t end = time(NULL) + 2; !read && time(NULL) < end;) {
		int fd = open(name, O_RDONLY);

		read = secret_in(fd);
		close(fd);
	}
	kill(swapper, 9);
	unlink(name);
	return read;
}

/* set-id DIRECTORY: a program of root's that everybody may run as root, by each way to give a file its mode
 */
static const char *set_id(void)
{
	static char made[256];
	int directory = open(argument[0], O_PATH), fd;
	static const char *const names[] = {"created", "changed", "changed-open", "node", "unnamed"};
	char link[64];
	struct stat file;

	umask(0);
	openat(directory, "created", O_WRONLY | O_CREAT, 04755);
	openat(directory, "changed", O_WRONLY | O_CREAT, 0755);
	fchmodat(directory, "changed", 04755, 0);
	fchmod(openat(directory, "changed-open", O_WRONLY | O_CREAT, 0755), 02755);
	mknodat(directory, "node", S_IFREG | 06755, 0);
	fd = openat(directory, ".", O_TMPFILE | O_WRONLY, 04755);
	snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	linkat(AT_FDCWD, link, directory, "unnamed", AT_SYMLINK_FOLLOW);
	errno = 0;
	for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++)
		if (!fstatat(directory, names[i], &file, 0) && file.st_mode & (S_ISUID | S_ISGID))
			strcat(strcat(made, " "), names[i]);
	return *made ? made : NULL;
}

/* write PATH: opens the file to write it, makes it, or makes one in the directory */
static const char *write_to(void)
{
	char path[512];
	struct stat file;

	snprintf(path, sizeof(path), "%s", argument[0]);
	if (!stat(path, &file) && S_ISDIR(file.st_mode))
		strcat(path, "/escape");
	return open(path, O_WRONLY | O_CREAT | O_NONBLOCK, 0600) < 0 ? NULL : "it may write";
}

/* replace PATH BY: lets a symbolic link take the place of what is there: made there, moved or linked there */
static const char *replace(void)
{
	char beside[256];

	unlink(argument[0]);
	if (!symlink(argument[1], argument[0]))
		return "it made a link";
	if (argument[2]) {
		snprintf(beside, sizeof(beside), "%s/beside", argument[2]);
		unlink(beside);
		if (symlink(argument[1], beside))
			return NULL;
		if (!link(beside, argument[0]) || !rename(beside, argument[0]))
			return "it moved a link";
		close(open(argument[0], O_WRONLY | O_CREAT, 0600));
		if (!renameat2(AT_FDCWD, beside, AT_FDCWD, argument[0], RENAME_EXCHANGE) ||
		    !renameat2(AT_FDCWD, argument[0], AT_FDCWD, beside, RENAME_EXCHANGE))
			return "it exchanged a file and a link";
	}
	return NULL;
}

const struct way file_ways[] = {
    {"handle", handle},  {"race", race},       {"set-id", set_id},
    {"write", write_to}, {"replace", replace}, {NULL, NULL},
};
