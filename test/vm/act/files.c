// Names and contents.
#include "act.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <unistd.h>

/* open PATH FLAGS */
static int act_open(void)
{
	return open(argument[0], number(1), 0600);
}

static int act_truncate(void)
{
	return truncate(argument[0], 0);
}

static int act_mkdir(void)
{
	return mkdir(argument[0], 0700);
}

static int act_mknod(void)
{
	return mknod(argument[0], S_IFIFO | 0600, 0);
}

static int act_symlink(void)
{
	return symlink("/etc/passwd", argument[0]);
}

static int act_link(void)
{
	return link(argument[0], argument[1]);
}

/* tmpfile-link DIRECTORY PATH: a file that had no name gets one */
static int act_tmpfile_link(void)
{
	char path[64];

	snprintf(path, sizeof(path), "/proc/self/fd/%d", open(argument[0], O_TMPFILE | O_RDWR, 0700));
	return linkat(AT_FDCWD, path, AT_FDCWD, argument[1], AT_SYMLINK_FOLLOW);
}

static int act_unlink(void)
{
	return unlink(argument[0]);
}

static int act_rmdir(void)
{
	return rmdir(argument[0]);
}

static int act_rename(void)
{
	return rename(argument[0], argument[1]);
}

/* RENAME_EXCHANGE changes both names in one call. */
static int act_exchange(void)
{
	return renameat2(AT_FDCWD, argument[0], AT_FDCWD, argument[1], RENAME_EXCHANGE);
}

static int act_chmod(void)
{
	return chmod(argument[0], 0777);
}

static int act_chown(void)
{
	return chown(argument[0], 1, 1);
}

/* copy HOW FROM TO: the ways to move bytes between descriptors */
static int act_copy(void)
{
	int from = open(argument[1], O_RDONLY);
	int to = open(argument[2], O_WRONLY);
	int ends[2];

	if (from < 0 || to < 0)
		return -1;
	if (strcmp(argument[0], "range") == 0)
		return copy_file_range(from, NULL, to, NULL, 4, 0);
	if (strcmp(argument[0], "sendfile") == 0)
		return sendfile(to, from, NULL, 4);
	if (strcmp(argument[0], "fallocate") == 0)
		return fallocate(to, 0, 0, 4096);
	if (strcmp(argument[0], "ftruncate") == 0)
		return ftruncate(to, 0);
	if (pipe(ends) || splice(from, NULL, ends[1], NULL, 4, 0) < 0)
		return -1;
	return splice(ends[0], NULL, to, NULL, 4, 0);
}

/* map PATH: a shared writable mapping of a file that is open for reading; then mprotect */
static int act_map(void)
{
	int fd = open(argument[0], O_RDONLY);
	void *page = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

	if (page != MAP_FAILED)
		return 0;
	page = mmap(NULL, 4096, PROT_READ, MAP_SHARED, fd, 0);
	return page == MAP_FAILED ? -1 : mprotect(page, 4096, PROT_READ | PROT_WRITE);
}

/* map-shared PATH: what is written to the mapping is written to the file */
static int act_map_shared(void)
{
	int fd = open(argument[0], O_RDWR);
	char *page;

	if (fd < 0 || ftruncate(fd, 4096))
		return -1;
	page = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (page == MAP_FAILED)
		return -1;
	page[0] = 'T';
	return msync(page, 4096, MS_SYNC);
}

const struct operation file_operations[] = {
    {"open", act_open},
    {"truncate", act_truncate},
    {"mkdir", act_mkdir},
    {"mknod", act_mknod},
    {"symlink", act_symlink},
    {"link", act_link},
    {"unlink", act_unlink},
    {"rmdir", act_rmdir},
    {"rename", act_rename},
    {"exchange", act_exchange},
    {"chmod", act_chmod},
    {"chown", act_chown},
    {"copy", act_copy},
    {"map", act_map},
    {"map-shared", act_map_shared},
    {"tmpfile-link", act_tmpfile_link},
    {NULL, NULL},
};
