// Sockets of all families.
#include "act.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stddef.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

static socklen_t address_of(const char *family, const char *host, int port, struct sockaddr_storage *storage)
{
	struct sockaddr_in *in = (void *)storage;
	struct sockaddr_in6 *in6 = (void *)storage;

	memset(storage, 0, sizeof(*storage));
	if (strcmp(family, "6") == 0) {
		in6->sin6_family = AF_INET6;
		in6->sin6_port = htons(port);
		inet_pton(AF_INET6, host, &in6->sin6_addr);
		return sizeof(*in6);
	}
	in->sin_family = AF_INET;
	in->sin_port = htons(port);
	inet_pton(AF_INET, host, &in->sin_addr);
	return sizeof(*in);
}

static int make_socket(const char *family, const char *protocol)
{
	return socket(*family == '6' ? AF_INET6 : AF_INET, *protocol == 'u' ? SOCK_DGRAM : SOCK_STREAM, 0);
}

/* bind 4|6 tcp|udp HOST PORT */
static int act_bind(void)
{
	struct sockaddr_storage address;
	socklen_t length = address_of(argument[0], argument[2], number(3), &address);
	int fd = make_socket(argument[0], argument[1]);
	int yes = 1;

	/* A connection of an earlier test may still be in TIME_WAIT. */
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof(yes));
	return fd < 0 ? fd : bind(fd, (void *)&address, length);
}

/* connect 4|6 tcp|udp HOST PORT */
static int act_connect(void)
{
	struct sockaddr_storage address;
	socklen_t length = address_of(argument[0], argument[2], number(3), &address);
	int fd = make_socket(argument[0], argument[1]);

	return fd < 0 ? fd : connect(fd, (void *)&address, length);
}

/* send 4|6 tcp|udp HOST PORT: without connecting first; tcp by Fast Open */
static int act_send(void)
{
	struct sockaddr_storage address;
	socklen_t length = address_of(argument[0], argument[2], number(3), &address);
	int fd = make_socket(argument[0], argument[1]);

	return fd < 0 ? fd
		      : sendto(fd, "x", 1, *argument[1] == 'u' ? 0 : MSG_FASTOPEN, (void *)&address, length);
}

/* An AF_UNSPEC address means IPv4 to sendto(2). */
static int act_send_unspec(void)
{
	struct sockaddr_storage address;
	socklen_t length = address_of("4", argument[0], number(1), &address);
	int fd = make_socket("4", "udp");

	address.ss_family = AF_UNSPEC;
	return fd < 0 ? fd : sendto(fd, "x", 1, 0, (void *)&address, length);
}

/* listen: without bind(), on a port of the kernel's choice */
static int act_listen(void)
{
	int fd = make_socket("4", "tcp");

	return fd < 0 ? fd : listen(fd, 1);
}

/* listen-zero: after bind() to port 0 */
static int act_listen_zero(void)
{
	struct sockaddr_storage address;
	socklen_t length = address_of("4", "127.0.0.1", 0, &address);
	int fd = make_socket("4", "tcp");

	return bind(fd, (void *)&address, length) ? -1 : listen(fd, 1);
}

/* socket FAMILY TYPE PROTOCOL */
static int act_socket(void)
{
	return socket(number(0), number(1), number(2));
}

static int act_socketpair(void)
{
	int ends[2];

	if (socketpair(AF_UNIX, SOCK_DGRAM, 0, ends))
		return -1;
	return send(ends[0], "x", 1, 0);
}

/* unix stream|dgram PATH, an abstract name with a leading @ */
static int act_unix(void)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, *argument[0] == 's' ? SOCK_STREAM : SOCK_DGRAM, 0);
	socklen_t length = offsetof(struct sockaddr_un, sun_path) + strlen(argument[1]);

	strncpy(address.sun_path, argument[1], sizeof(address.sun_path) - 1);
	if (*argument[1] == '@')
		address.sun_path[0] = '\0';
	else
		length++;
	if (*argument[0] == 's')
		return connect(fd, (void *)&address, length);
	return sendto(fd, "x", 1, 0, (void *)&address, length);
}

static int act_unix_bind(void)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);

	strncpy(address.sun_path, argument[0], sizeof(address.sun_path) - 1);
	if (*argument[0] == '@')
		address.sun_path[0] = '\0';
	return bind(fd, (void *)&address, offsetof(struct sockaddr_un, sun_path) + strlen(argument[0]) + 1);
}

const struct operation socket_operations[] = {
    {"bind", act_bind},     {"connect", act_connect},
    {"send", act_send},     {"send-unspec", act_send_unspec},
    {"listen", act_listen}, {"listen-zero", act_listen_zero},
    {"socket", act_socket}, {"socketpair", act_socketpair},
    {"unix", act_unix},     {"unix-bind", act_unix_bind},
    {NULL, NULL},
};
