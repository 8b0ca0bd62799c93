/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * requests PORT PATH: asks a server on loopback for the path many times, once it listens, and prints the
 * median of the ticks that a request takes both of them. Connections are closed by the server.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "counter.h"

enum { WARM = 20, ROUNDS = 200, TRIES = 3000 };

static int try(const struct sockaddr_in *server)
{
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	if (connect(fd, (const void *)server, sizeof(*server)) == 0)
		return fd;
	close(fd);
	return -1;
}

static void ask(const struct sockaddr_in *server, const char *text)
{
	char answer[8192];
	int fd = try(server);
	ssize_t length, all = 0;

	if (fd < 0 || write(fd, text, strlen(text)) < 0) {
		fprintf(stderr, "requests: %s\n", strerror(errno));
		exit(1);
	}
	while ((length = read(fd, answer, sizeof(answer))) > 0) {
		if (all == 0 && strncmp(answer, "HTTP/1.1 200 ", 13) != 0) {
			fprintf(stderr, "requests: the server says %.60s\n", answer);
			exit(1);
		}
		all += length;
	}
	close(fd);
}

int main(int argc, char *argv[])
{
	static unsigned long long ticks[ROUNDS];
	struct sockaddr_in server = {.sin_family = AF_INET};
	char text[256];
	int fd = -1;

	if (argc != 3)
		return 2;
	server.sin_port = htons(atoi(argv[1]));
	server.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	snprintf(text, sizeof(text), "GET %s HTTP/1.0\r\n\r\n", argv[2]);
	for (int i = 0; i < TRIES && fd < 0; i++) {
		fd = try(&server);
		if (fd < 0)
			usleep(10000);
	}
	if (fd < 0) {
		fprintf(stderr, "requests: nobody listens on port %s\n", argv[1]);
		return 1;
	}
	close(fd);
	for (int round = -WARM; round < ROUNDS; round++) {
		unsigned long long begin = now();

		ask(&server, text);
		if (round >= 0)
			ticks[round] = now() - begin;
	}
	sort_ticks(ticks, ROUNDS);
	printf("%llu\n", ticks[ROUNDS / 2]);
	return 0;
}
