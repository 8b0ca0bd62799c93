/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* io_uring without a library: a ring with one request in it at a time. */
#ifndef JAILRUN_TEST_RING_H
#define JAILRUN_TEST_RING_H

#include <errno.h>
#include <linux/io_uring.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

struct ring {
	int fd;
	char *rings;
	struct io_uring_params params;
	struct io_uring_sqe *entries;
};

static inline int make_ring(struct ring *ring, unsigned flags)
{
	size_t size;

	memset(ring, 0, sizeof(*ring));
	ring->params.flags = flags;
	ring->fd = syscall(SYS_io_uring_setup, 8, &ring->params);
	if (ring->fd < 0)
		return -1;
	size = ring->params.cq_off.cqes + ring->params.cq_entries * sizeof(struct io_uring_cqe);
	ring->rings = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, ring->fd, IORING_OFF_SQ_RING);
	ring->entries = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, ring->fd, IORING_OFF_SQES);
	return ring->rings == MAP_FAILED || ring->entries == MAP_FAILED ? -1 : 0;
}

/* Returns the request's result, or -1 where the kernel takes none; errno tells more. */
static inline int submit(struct ring *ring, struct io_uring_sqe entry)
{
	unsigned *tail = (unsigned *)(ring->rings + ring->params.sq_off.tail);
	unsigned *head = (unsigned *)(ring->rings + ring->params.cq_off.head);
	unsigned *indices = (unsigned *)(ring->rings + ring->params.sq_off.array);
	struct io_uring_cqe *results = (struct io_uring_cqe *)(ring->rings + ring->params.cq_off.cqes);
	int result;

	indices[*tail & 7] = 0;
	ring->entries[0] = entry;
	__atomic_add_fetch(tail, 1, __ATOMIC_RELEASE);
	if (syscall(SYS_io_uring_enter, ring->fd, 1, 1, IORING_ENTER_GETEVENTS | IORING_ENTER_SQ_WAKEUP, NULL,
		    0) < 0)
		return -1;
	result = results[*head & (ring->params.cq_entries - 1)].res;
	__atomic_add_fetch(head, 1, __ATOMIC_RELEASE);
	errno = -result;
	return result;
}

#endif
