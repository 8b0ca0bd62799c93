// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * The kernel calls that node lacks: libbpf's objects and rings, bpf(2) on descriptors, and the few
 * system calls of the launcher's last steps. It has no opinions: src/launcher/addon.ts says what each
 * function means, and every decision is taken in TypeScript.
 *
 * A wrong argument throws a TypeError. A failed call throws an Error with `code` ("EPERM"), `errno`
 * (negative, as node's own), `syscall`, and `log`, libbpf's last words, where there are any.
 * Descriptors are plain numbers which the caller closes with fs.closeSync(); all are close-on-exec.
 */
#include <napi.h>
#include <uv.h>

#include <bpf/bpf.h>
#include <bpf/btf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <algorithm>
#include <climits>
#include <cstdarg>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "../bpf/abi.h"

extern "C" {
#include "sha256.h"
}

namespace
{

/* What libbpf said during the call under way, the verifier's log included. */
std::string libbpf_log;

int CollectLog(enum libbpf_print_level level, const char *format, va_list arguments)
{
	char *line;
	int length;

	if (level != LIBBPF_WARN)
		return 0;
	length = vasprintf(&line, format, arguments);
	if (length < 0)
		return 0;
	libbpf_log.append(line, length);
	free(line);
	return 0;
}

/* The verifier says at the end what it refuses; its log can have megabytes. */
/* The map of global variables that begin as 0; their struct is in abi.h. */
constexpr const char *VARIABLES_SECTION = ".bss";

constexpr size_t log_tail = 16384;

/* An errno's name and text, also of those that libc does not know. */
std::pair<std::string, std::string> DescribeError(int error)
{
	char text[128];

	/* Let out by bpf(2) although it is the kernel's own (include/linux/errno.h). */
	if (error == 524)
		return {"ENOTSUPP", "Operation is not supported"};
	if (error >= __LIBBPF_ERRNO__START) {
		libbpf_strerror(error, text, sizeof(text));
		return {"ELIBBPF", text};
	}
	if (!strerrorname_np(error))
		return {"UNKNOWN", "Unknown error " + std::to_string(error)};
	return {strerrorname_np(error), strerrordesc_np(error)};
}

Napi::Error SystemError(Napi::Env env, int error, const std::string &operation)
{
	auto [name, text] = DescribeError(error);
	Napi::Error result = Napi::Error::New(env, operation + ": " + text);

	result.Set("code", Napi::String::New(env, name));
	result.Set("errno", Napi::Number::New(env, -error));
	result.Set("syscall", Napi::String::New(env, operation));
	return result;
}

Napi::Error LoggedError(Napi::Env env, int error, const std::string &operation)
{
	Napi::Error result = SystemError(env, error, operation);
	size_t start = libbpf_log.size() > log_tail ? libbpf_log.size() - log_tail : 0;

	result.Set("log", Napi::String::New(env, libbpf_log.substr(start)));
	return result;
}

/* Passes on what a libbpf 1.x or raw call returned; below zero it is a negative errno. */
int Check(Napi::Env env, int result, const std::string &operation)
{
	if (result < 0)
		throw SystemError(env, -result, operation);
	return result;
}

/* The same for calls that make libbpf talk. */
int CheckLogged(Napi::Env env, int result, const std::string &operation)
{
	if (result < 0)
		throw LoggedError(env, -result, operation);
	return result;
}

int ToNumber(Napi::Value value, const char *name)
{
	double number = value.IsNumber() ? value.As<Napi::Number>().DoubleValue() : -1;

	if (!(number >= 0 && number <= INT_MAX) || number != static_cast<int>(number))
		throw Napi::TypeError::New(value.Env(),
					   std::string(name) + " must be an integer from 0 to 2^31 - 1");
	return static_cast<int>(number);
}

std::string ToText(Napi::Value value, const char *name)
{
	std::string text;

	if (value.IsString())
		text = value.As<Napi::String>();
	if (text.empty() || text.find('\0') != std::string::npos)
		throw Napi::TypeError::New(value.Env(),
					   std::string(name) + " must be a string without a NUL");
	return text;
}

bool ToFlag(Napi::Value value, const char *name)
{
	if (!value.IsBoolean())
		throw Napi::TypeError::New(value.Env(), std::string(name) + " must be a boolean");
	return value.As<Napi::Boolean>();
}

Napi::Object ToObject(Napi::Value value, const char *name)
{
	if (!value.IsObject())
		throw Napi::TypeError::New(value.Env(), std::string(name) + " must be an object");
	return value.As<Napi::Object>();
}

Napi::Uint8Array ToBytes(Napi::Value value, const char *name)
{
	if (value.IsTypedArray() && value.As<Napi::TypedArray>().TypedArrayType() == napi_uint8_array)
		return value.As<Napi::Uint8Array>();
	throw Napi::TypeError::New(value.Env(), std::string(name) + " must be a Uint8Array");
}

/* Bytes of exactly the size that the kernel will read. */
Napi::Uint8Array ToBytes(Napi::Value value, const char *name, size_t size)
{
	Napi::Uint8Array bytes = ToBytes(value, name);

	if (bytes.ByteLength() != size)
		throw Napi::TypeError::New(value.Env(),
					   std::string(name) + " has " + std::to_string(bytes.ByteLength()) +
					       " bytes where the map has " + std::to_string(size));
	return bytes;
}

Napi::Uint8Array NewBytes(Napi::Env env, const void *data, size_t size)
{
	Napi::Uint8Array bytes = Napi::Uint8Array::New(env, size);

	memcpy(bytes.Data(), data, size);
	return bytes;
}

/*
 * The map behind a descriptor. The kernel reads and writes as many bytes as the map's sizes say,
 * whatever the caller believes, so every operation asks first.
 */
bpf_map_info MapInfo(Napi::Env env, int fd)
{
	bpf_map_info map = {};
	__u32 length = sizeof(map);

	Check(env, bpf_obj_get_info_by_fd(fd, &map, &length), "bpf(OBJ_GET_INFO_BY_FD)");
	return map;
}

bpf_map_info SingleValueMap(Napi::Env env, int fd)
{
	bpf_map_info map = MapInfo(env, fd);

	switch (map.type) {
	case BPF_MAP_TYPE_PERCPU_HASH:
	case BPF_MAP_TYPE_PERCPU_ARRAY:
	case BPF_MAP_TYPE_LRU_PERCPU_HASH:
	case BPF_MAP_TYPE_PERCPU_CGROUP_STORAGE:
		/* Such a value has a copy for each CPU: more bytes than value_size says. */
		throw SystemError(env, EOPNOTSUPP, "a map with values per CPU");
	}
	return map;
}

Napi::Value ObjGet(const Napi::CallbackInfo &info)
{
	std::string path = ToText(info[0], "path");

	return Napi::Number::New(info.Env(), Check(info.Env(), bpf_obj_get(path.c_str()), "bpf(OBJ_GET)"));
}

void ObjPin(const Napi::CallbackInfo &info)
{
	int fd = ToNumber(info[0], "fd");
	std::string path = ToText(info[1], "path");

	Check(info.Env(), bpf_obj_pin(fd, path.c_str()), "bpf(OBJ_PIN)");
}

Napi::Value MapCreate(const Napi::CallbackInfo &info)
{
	Napi::Object map = ToObject(info[0], "map");
	bpf_map_type type = static_cast<bpf_map_type>(ToNumber(map["type"], "type"));
	std::string name = ToText(map["name"], "name");
	int key_size = ToNumber(map["keySize"], "keySize");
	int value_size = ToNumber(map["valueSize"], "valueSize");
	int max_entries = ToNumber(map["maxEntries"], "maxEntries");
	LIBBPF_OPTS(bpf_map_create_opts, options);

	options.map_flags = map.Has("flags") ? ToNumber(map["flags"], "flags") : 0;
	int fd = bpf_map_create(type, name.c_str(), key_size, value_size, max_entries, &options);

	return Napi::Number::New(info.Env(), Check(info.Env(), fd, "bpf(MAP_CREATE)"));
}

Napi::Value MapInfoOf(const Napi::CallbackInfo &info)
{
	bpf_map_info map = MapInfo(info.Env(), ToNumber(info[0], "fd"));
	Napi::Object result = Napi::Object::New(info.Env());

	result["type"] = map.type;
	result["id"] = map.id;
	result["name"] = Napi::String::New(info.Env(), map.name);
	result["keySize"] = map.key_size;
	result["valueSize"] = map.value_size;
	result["maxEntries"] = map.max_entries;
	result["flags"] = map.map_flags;
	return result;
}

Napi::Value MapLookup(const Napi::CallbackInfo &info)
{
	int fd = ToNumber(info[0], "fd");
	bpf_map_info map = SingleValueMap(info.Env(), fd);
	Napi::Uint8Array key = ToBytes(info[1], "key", map.key_size);
	Napi::Uint8Array value = Napi::Uint8Array::New(info.Env(), map.value_size);
	int result = bpf_map_lookup_elem(fd, key.Data(), value.Data());

	if (result == -ENOENT)
		return info.Env().Undefined();
	Check(info.Env(), result, "bpf(MAP_LOOKUP_ELEM)");
	return value;
}

void MapUpdate(const Napi::CallbackInfo &info)
{
	int fd = ToNumber(info[0], "fd");
	bpf_map_info map = SingleValueMap(info.Env(), fd);
	Napi::Uint8Array key = ToBytes(info[1], "key", map.key_size);
	Napi::Uint8Array value = ToBytes(info[2], "value", map.value_size);
	int flags = ToNumber(info[3], "flags");

	Check(info.Env(), bpf_map_update_elem(fd, key.Data(), value.Data(), flags), "bpf(MAP_UPDATE_ELEM)");
}

void MapUpdateBatch(const Napi::CallbackInfo &info)
{
	int fd = ToNumber(info[0], "fd");
	bpf_map_info map = SingleValueMap(info.Env(), fd);
	__u32 count = ToNumber(info[3], "count");
	Napi::Uint8Array keys = ToBytes(info[1], "keys", size_t(map.key_size) * count);
	Napi::Uint8Array values = ToBytes(info[2], "values", size_t(map.value_size) * count);
	LIBBPF_OPTS(bpf_map_batch_opts, options, .elem_flags = BPF_ANY);

	if (count == 0)
		return;
	Check(info.Env(), bpf_map_update_batch(fd, keys.Data(), values.Data(), &count, &options),
	      "bpf(MAP_UPDATE_BATCH)");
}

Napi::Value MapDelete(const Napi::CallbackInfo &info)
{
	int fd = ToNumber(info[0], "fd");
	bpf_map_info map = SingleValueMap(info.Env(), fd);
	Napi::Uint8Array key = ToBytes(info[1], "key", map.key_size);
	int result = bpf_map_delete_elem(fd, key.Data());

	if (result == -ENOENT)
		return Napi::Boolean::New(info.Env(), false);
	Check(info.Env(), result, "bpf(MAP_DELETE_ELEM)");
	return Napi::Boolean::New(info.Env(), true);
}

Napi::Value MapNextKey(const Napi::CallbackInfo &info)
{
	int fd = ToNumber(info[0], "fd");
	bpf_map_info map = SingleValueMap(info.Env(), fd);
	Napi::Uint8Array next = Napi::Uint8Array::New(info.Env(), map.key_size);
	const void *key = info[1].IsUndefined() ? nullptr : ToBytes(info[1], "key", map.key_size).Data();
	int result = bpf_map_get_next_key(fd, key, next.Data());

	if (result == -ENOENT)
		return info.Env().Undefined();
	Check(info.Env(), result, "bpf(MAP_GET_NEXT_KEY)");
	return next;
}

void MapFreeze(const Napi::CallbackInfo &info)
{
	Check(info.Env(), bpf_map_freeze(ToNumber(info[0], "fd")), "bpf(MAP_FREEZE)");
}

Napi::Value ProgramInfoOf(const Napi::CallbackInfo &info)
{
	bpf_prog_info program = {};
	__u32 length = sizeof(program);
	Napi::Object result = Napi::Object::New(info.Env());

	Check(info.Env(), bpf_obj_get_info_by_fd(ToNumber(info[0], "fd"), &program, &length),
	      "bpf(OBJ_GET_INFO_BY_FD)");
	result["type"] = program.type;
	result["id"] = program.id;
	result["name"] = Napi::String::New(info.Env(), program.name);
	result["runCount"] = Napi::BigInt::New(info.Env(), static_cast<uint64_t>(program.run_cnt));
	return result;
}

class Descriptor
{
      public:
	explicit Descriptor(int fd) : fd(fd)
	{
	}
	Descriptor(const Descriptor &) = delete;
	~Descriptor()
	{
		close(fd);
	}
	const int fd;
};

/* What a program of type BPF_TRACE_ITER writes on its way over all tasks, or over those of one process. */
Napi::Value Iterate(const Napi::CallbackInfo &info)
{
	Napi::Env env = info.Env();
	int program = ToNumber(info[0], "program");
	bpf_iter_link_info process = {};
	LIBBPF_OPTS(bpf_link_create_opts, options);

	if (!info[1].IsUndefined()) {
		process.task.pid_fd = ToNumber(info[1], "process");
		options.iter_info = &process;
		options.iter_info_len = sizeof(process);
	}
	Descriptor link(
	    Check(env, bpf_link_create(program, 0, BPF_TRACE_ITER, &options), "bpf(LINK_CREATE)"));
	Descriptor output(Check(env, bpf_iter_create(link.fd), "bpf(ITER_CREATE)"));
	std::string bytes;
	char part[16384];
	ssize_t length;

	while ((length = read(output.fd, part, sizeof(part))) != 0) {
		if (length < 0 && (errno == EAGAIN || errno == EINTR))
			continue;
		Check(env, length < 0 ? -errno : 0, "read what a BPF iterator writes");
		bytes.append(part, length);
	}
	return NewBytes(env, bytes.data(), bytes.size());
}

Napi::Value LinkInfoOf(const Napi::CallbackInfo &info)
{
	bpf_link_info link = {};
	__u32 length = sizeof(link);
	Napi::Object result = Napi::Object::New(info.Env());

	Check(info.Env(), bpf_obj_get_info_by_fd(ToNumber(info[0], "fd"), &link, &length),
	      "bpf(OBJ_GET_INFO_BY_FD)");
	result["type"] = link.type;
	result["id"] = link.id;
	result["programId"] = link.prog_id;
	return result;
}

Napi::Value EnableStats(const Napi::CallbackInfo &info)
{
	return Napi::Number::New(
	    info.Env(), Check(info.Env(), bpf_enable_stats(BPF_STATS_RUN_TIME), "bpf(ENABLE_STATS)"));
}

Napi::Value Probe(const Napi::CallbackInfo &info)
{
	jr_probe probe = {};
	bool lossless = false;

	if (info[0].IsBigInt())
		probe.pod = info[0].As<Napi::BigInt>().Uint64Value(&lossless);
	if (!lossless)
		throw Napi::TypeError::New(info.Env(), "pod must be an unsigned 64-bit bigint");
	int result = syscall(__NR_bpf, JR_PROBE_COMMAND, &probe, sizeof(probe));
	return Napi::Number::New(info.Env(), result < 0 ? errno : 0);
}

/* Many at once, because reading the kernel's types takes milliseconds. */
Napi::Value ArgumentCounts(const Napi::CallbackInfo &info)
{
	Napi::Env env = info.Env();
	if (!info[0].IsArray())
		throw Napi::TypeError::New(env, "functions must be an array");
	Napi::Array functions = info[0].As<Napi::Array>();
	Napi::Array counts = Napi::Array::New(env, functions.Length());

	libbpf_log.clear();
	std::unique_ptr<btf, void (*)(btf *)> types(btf__load_vmlinux_btf(), btf__free);
	if (!types)
		throw LoggedError(env, errno, "read the kernel's BTF");
	for (uint32_t i = 0; i < functions.Length(); i++) {
		std::string name = ToText(functions[i], "an entry of functions");
		int function = btf__find_by_name_kind(types.get(), name.c_str(), BTF_KIND_FUNC);

		if (function < 0) {
			counts[i] = env.Undefined();
			continue;
		}
		const btf_type *prototype =
		    btf__type_by_id(types.get(), btf__type_by_id(types.get(), function)->type);
		counts[i] = Napi::Number::New(env, btf_vlen(prototype));
	}
	return counts;
}

/* A mount that has no place in the tree gives access without showing anything to anybody else. */
Napi::Value ReadUnmounted(const Napi::CallbackInfo &info)
{
	Napi::Env env = info.Env();
	std::string type = ToText(info[0], "type");
	std::string path = ToText(info[1], "path");
	auto check = [&](const char *operation, int result) {
		return Check(env, result < 0 ? -errno : result, std::string(operation) + " " + type);
	};
	Descriptor context(check("fsopen", fsopen(type.c_str(), FSOPEN_CLOEXEC)));
	check("fsconfig", fsconfig(context.fd, FSCONFIG_CMD_CREATE, nullptr, nullptr, 0));
	Descriptor root(check("fsmount", fsmount(context.fd, FSMOUNT_CLOEXEC, 0)));
	Descriptor file(check("open a file of", openat(root.fd, path.c_str(), O_RDONLY | O_CLOEXEC)));
	std::string text;
	char part[4096];
	int length;

	while ((length = check("read a file of", read(file.fd, part, sizeof(part)))) > 0)
		text.append(part, length);
	return Napi::String::New(env, text);
}

Napi::Value Flock(const Napi::CallbackInfo &info)
{
	int fd = ToNumber(info[0], "fd");
	Napi::Object how = ToObject(info[1], "how");
	int operation = ToFlag(how["exclusive"], "exclusive") ? LOCK_EX : LOCK_SH;
	int result;

	if (!ToFlag(how["wait"], "wait"))
		operation |= LOCK_NB;
	do
		result = flock(fd, operation);
	while (result < 0 && errno == EINTR);
	if (result < 0 && errno == EWOULDBLOCK)
		return Napi::Boolean::New(info.Env(), false);
	Check(info.Env(), result < 0 ? -errno : 0, "flock");
	return Napi::Boolean::New(info.Env(), true);
}

/* Two directory entries change places in one step. */
void Exchange(const Napi::CallbackInfo &info)
{
	std::string one = ToText(info[0], "one");
	std::string other = ToText(info[1], "other");
	int result = renameat2(AT_FDCWD, one.c_str(), AT_FDCWD, other.c_str(), RENAME_EXCHANGE);

	Check(info.Env(), result < 0 ? -errno : 0, "renameat2");
}

Napi::Value PidfdOpen(const Napi::CallbackInfo &info)
{
	int fd = syscall(SYS_pidfd_open, ToNumber(info[0], "pid"), 0);

	if (fd < 0 && errno == ESRCH)
		return info.Env().Undefined();
	Check(info.Env(), fd < 0 ? -errno : 0, "pidfd_open");
	return Napi::Number::New(info.Env(), fd);
}

/* Who made the other end of a unix socket, and a pidfd of it where the kernel has kept one (since 6.5). */
Napi::Value PeerOf(const Napi::CallbackInfo &info)
{
	Napi::Env env = info.Env();
	int fd = ToNumber(info[0], "fd");
	const int so_peerpidfd = 77; /* include/uapi/asm-generic/socket.h */
	ucred peer = {};
	socklen_t length = sizeof(peer);
	std::vector<gid_t> groups(1 << 16);
	socklen_t size = groups.size() * sizeof(gid_t);
	int pidfd;
	Napi::Object result = Napi::Object::New(env);
	Napi::Array list = Napi::Array::New(env);

	Check(env, getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &length) < 0 ? -errno : 0, "SO_PEERCRED");
	Check(env, getsockopt(fd, SOL_SOCKET, SO_PEERGROUPS, groups.data(), &size) < 0 ? -errno : 0,
	      "SO_PEERGROUPS");
	list[0u] = peer.gid;
	for (size_t i = 0; i < size / sizeof(gid_t); i++)
		list[i + 1] = groups[i];
	result["pid"] = peer.pid;
	result["uid"] = peer.uid;
	result["groups"] = list;
	length = sizeof(pidfd);
	if (getsockopt(fd, SOL_SOCKET, so_peerpidfd, &pidfd, &length) == 0)
		result["pidfd"] = pidfd;
	return result;
}

/* Whether the descriptor is a socket that waits for connections. */
Napi::Value IsListening(const Napi::CallbackInfo &info)
{
	int listening = 0;
	socklen_t length = sizeof(listening);

	getsockopt(ToNumber(info[0], "fd"), SOL_SOCKET, SO_ACCEPTCONN, &listening, &length);
	return Napi::Boolean::New(info.Env(), listening);
}

/* Undefined where the file has no such attribute, or its file system none at all. */
Napi::Value GetXattr(const Napi::CallbackInfo &info)
{
	std::string name = ToText(info[1], "name");
	/* The kernel's own limit, XATTR_SIZE_MAX. */
	std::vector<uint8_t> value(65536);
	ssize_t length = fgetxattr(ToNumber(info[0], "fd"), name.c_str(), value.data(), value.size());

	if (length < 0 && (errno == ENODATA || errno == EOPNOTSUPP))
		return info.Env().Undefined();
	Check(info.Env(), length < 0 ? -errno : 0, "fgetxattr " + name);
	Napi::Uint8Array bytes = Napi::Uint8Array::New(info.Env(), length);
	std::copy_n(value.begin(), length, bytes.Data());
	return bytes;
}

void SetXattr(const Napi::CallbackInfo &info)
{
	std::string name = ToText(info[1], "name");
	Napi::Uint8Array value = ToBytes(info[2], "value");
	int result = fsetxattr(ToNumber(info[0], "fd"), name.c_str(), value.Data(), value.ByteLength(), 0);

	Check(info.Env(), result < 0 ? -errno : 0, "fsetxattr " + name);
}

Napi::Value RemoveXattr(const Napi::CallbackInfo &info)
{
	std::string name = ToText(info[1], "name");
	int result = fremovexattr(ToNumber(info[0], "fd"), name.c_str());

	if (result < 0 && (errno == ENODATA || errno == EOPNOTSUPP))
		return Napi::Boolean::New(info.Env(), false);
	Check(info.Env(), result < 0 ? -errno : 0, "fremovexattr " + name);
	return Napi::Boolean::New(info.Env(), true);
}

Napi::Value PidfdSignal(const Napi::CallbackInfo &info)
{
	int fd = ToNumber(info[0], "fd");
	int signal = ToNumber(info[1], "signal");
	int result = syscall(SYS_pidfd_send_signal, fd, signal, nullptr, 0);

	if (result < 0 && errno == ESRCH)
		return Napi::Boolean::New(info.Env(), false);
	Check(info.Env(), result < 0 ? -errno : 0, "pidfd_send_signal");
	return Napi::Boolean::New(info.Env(), true);
}

void SendPlan(const Napi::CallbackInfo &info)
{
	int socket = ToNumber(info[0], "socket");
	Napi::Uint8Array bytes = ToBytes(info[1], "bytes");
	if (!info[2].IsArray())
		throw Napi::TypeError::New(info.Env(), "fds must be an array");
	Napi::Array array = info[2].As<Napi::Array>();
	std::vector<int> fds;

	for (uint32_t i = 0; i < array.Length(); i++)
		fds.push_back(ToNumber(array[i], "an entry of fds"));

	size_t size = fds.size() * sizeof(int);
	std::vector<char> control(CMSG_SPACE(size));
	iovec part = {.iov_base = bytes.Data(), .iov_len = bytes.ByteLength()};
	msghdr message = {};
	ssize_t sent;

	message.msg_iov = &part;
	message.msg_iovlen = 1;
	if (size) {
		message.msg_control = control.data();
		message.msg_controllen = control.size();
		cmsghdr *header = CMSG_FIRSTHDR(&message);
		header->cmsg_level = SOL_SOCKET;
		header->cmsg_type = SCM_RIGHTS;
		header->cmsg_len = CMSG_LEN(size);
		memcpy(CMSG_DATA(header), fds.data(), size);
	}
	do
		sent = sendmsg(socket, &message, MSG_NOSIGNAL);
	while (sent < 0 && errno == EINTR);
	Check(info.Env(), sent < 0 ? -errno : 0, "sendmsg");
}

/* What the front digests, it digests with the same code. */
Napi::Value Sha256(const Napi::CallbackInfo &info)
{
	Napi::Uint8Array bytes = ToBytes(info[0], "bytes");
	Napi::Uint8Array digest = Napi::Uint8Array::New(info.Env(), SHA256_SIZE);

	sha256_bytes(bytes.Data(), bytes.ByteLength(), digest.Data());
	return digest;
}

void ExitNow(const Napi::CallbackInfo &info)
{
	_exit(ToNumber(info[0], "status"));
}

class BpfObject : public Napi::ObjectWrap<BpfObject>
{
      public:
	static Napi::Function Define(Napi::Env env)
	{
		return DefineClass(env, "BpfObject",
				   {
				       InstanceMethod<&BpfObject::Programs>("programs"),
				       InstanceMethod<&BpfObject::Maps>("maps"),
				       InstanceMethod<&BpfObject::SetAutoload>("setAutoload"),
				       InstanceMethod<&BpfObject::Retarget>("retarget"),
				       InstanceMethod<&BpfObject::ReuseMap>("reuseMap"),
				       InstanceMethod<&BpfObject::Load>("load"),
				       InstanceMethod<&BpfObject::MapFd>("mapFd"),
				       InstanceMethod<&BpfObject::ProgramFd>("programFd"),
				       InstanceMethod<&BpfObject::Attach>("attach"),
				       InstanceMethod<&BpfObject::Close>("close"),
				   });
	}

	explicit BpfObject(const Napi::CallbackInfo &info) : Napi::ObjectWrap<BpfObject>(info)
	{
		std::string path = ToText(info[0], "path");

		libbpf_log.clear();
		object.reset(bpf_object__open_file(path.c_str(), nullptr));
		if (!object)
			throw LoggedError(info.Env(), errno, "open " + path);
	}

      private:
	bpf_object *Opened(Napi::Env env)
	{
		if (!object)
			throw Napi::Error::New(env, "The BPF object is closed");
		libbpf_log.clear();
		return object.get();
	}

	bpf_program *ProgramArgument(const Napi::CallbackInfo &info)
	{
		std::string name = ToText(info[0], "program");
		bpf_program *program = bpf_object__find_program_by_name(Opened(info.Env()), name.c_str());

		if (!program)
			throw SystemError(info.Env(), ENOENT, "program " + name);
		return program;
	}

	/* A descriptor that outlives the object. */
	Napi::Value Duplicate(Napi::Env env, int fd, const std::string &operation)
	{
		Check(env, fd, operation);
		int copy = fcntl(fd, F_DUPFD_CLOEXEC, 3);
		return Napi::Number::New(env, Check(env, copy < 0 ? -errno : copy, operation));
	}

	Napi::Value Programs(const Napi::CallbackInfo &info)
	{
		Napi::Array programs = Napi::Array::New(info.Env());
		bpf_program *program;

		bpf_object__for_each_program(program, Opened(info.Env()))
		{
			Napi::Object entry = Napi::Object::New(info.Env());

			entry["name"] = Napi::String::New(info.Env(), bpf_program__name(program));
			entry["section"] = Napi::String::New(info.Env(), bpf_program__section_name(program));
			programs[programs.Length()] = entry;
		}
		return programs;
	}

	Napi::Value Maps(const Napi::CallbackInfo &info)
	{
		Napi::Array maps = Napi::Array::New(info.Env());
		bpf_map *map;

		bpf_object__for_each_map(map, Opened(info.Env()))
		{
			if (!bpf_map__is_internal(map))
				maps[maps.Length()] = Napi::String::New(info.Env(), bpf_map__name(map));
			else if (map == bpf_object__find_map_by_name(object.get(), VARIABLES_SECTION))
				maps[maps.Length()] = Napi::String::New(info.Env(), "variables");
		}
		return maps;
	}

	void ReuseMap(const Napi::CallbackInfo &info)
	{
		std::string name = ToText(info[0], "map");
		const char *section = name == "variables" ? VARIABLES_SECTION : name.c_str();
		bpf_map *map = bpf_object__find_map_by_name(Opened(info.Env()), section);

		if (!map)
			throw SystemError(info.Env(), ENOENT, "map " + name);
		CheckLogged(info.Env(), bpf_map__reuse_fd(map, ToNumber(info[1], "fd")), "reuse map " + name);
	}

	void SetAutoload(const Napi::CallbackInfo &info)
	{
		bpf_program *program = ProgramArgument(info);

		CheckLogged(info.Env(), bpf_program__set_autoload(program, ToFlag(info[1], "autoload")),
			    "set autoload");
	}

	void Retarget(const Napi::CallbackInfo &info)
	{
		bpf_program *program = ProgramArgument(info);
		std::string function = ToText(info[1], "function");
		auto type = static_cast<bpf_attach_type>(ToNumber(info[2], "type"));
		std::string operation = "find " + function + " in the kernel's BTF";

		CheckLogged(info.Env(), bpf_program__set_type(program, BPF_PROG_TYPE_TRACING), operation);
		CheckLogged(info.Env(), bpf_program__set_expected_attach_type(program, type), operation);
		CheckLogged(info.Env(), bpf_program__set_attach_target(program, 0, function.c_str()),
			    operation);
	}

	void Load(const Napi::CallbackInfo &info)
	{
		CheckLogged(info.Env(), bpf_object__load(Opened(info.Env())), "load the BPF object");
	}

	Napi::Value MapFd(const Napi::CallbackInfo &info)
	{
		std::string name = ToText(info[0], "map");
		const char *section = name == "variables" ? VARIABLES_SECTION : name.c_str();
		int fd = bpf_object__find_map_fd_by_name(Opened(info.Env()), section);

		return Duplicate(info.Env(), fd, "map " + name);
	}

	Napi::Value ProgramFd(const Napi::CallbackInfo &info)
	{
		bpf_program *program = ProgramArgument(info);

		return Duplicate(info.Env(), bpf_program__fd(program),
				 std::string("program ") + bpf_program__name(program));
	}

	Napi::Value Attach(const Napi::CallbackInfo &info)
	{
		bpf_program *program = ProgramArgument(info);
		std::string operation = std::string("attach ") + bpf_program__name(program);
		/* bpf_program__attach() goes by the section's name, which Retarget() made untrue. */
		bpf_link *link = bpf_program__type(program) == BPF_PROG_TYPE_LSM
				     ? bpf_program__attach_lsm(program)
				     : bpf_program__attach_trace(program);

		if (!link)
			throw LoggedError(info.Env(), errno, operation);
		std::unique_ptr<bpf_link, int (*)(bpf_link *)> owner(link, bpf_link__destroy);
		return Duplicate(info.Env(), bpf_link__fd(link), operation);
	}

	void Close(const Napi::CallbackInfo &)
	{
		object.reset();
	}

	std::unique_ptr<bpf_object, void (*)(bpf_object *)> object{nullptr, bpf_object__close};
};

class Ring : public Napi::ObjectWrap<Ring>
{
      public:
	static Napi::Function Define(Napi::Env env)
	{
		return DefineClass(env, "Ring",
				   {
				       InstanceMethod<&Ring::Consume>("consume"),
				       InstanceMethod<&Ring::Watch>("watch"),
				       InstanceMethod<&Ring::Close>("close"),
				   });
	}

	explicit Ring(const Napi::CallbackInfo &info) : Napi::ObjectWrap<Ring>(info)
	{
		int fd = ToNumber(info[0], "fd");

		libbpf_log.clear();
		ring.reset(ring_buffer__new(fd, TakeRecord, this, nullptr));
		if (!ring)
			throw LoggedError(info.Env(), errno, "open the ring");
	}

	~Ring() override
	{
		StopWatching();
	}

      private:
	/* A producer that never rests must not keep the reader in one call for ever. */
	static constexpr size_t max_records = 1024;

	static int TakeRecord(void *context, void *data, size_t size)
	{
		std::vector<std::string> &records = static_cast<Ring *>(context)->records;

		records.emplace_back(static_cast<char *>(data), size);
		return records.size() < max_records ? 0 : -ENOBUFS;
	}

	Napi::Value Consume(const Napi::CallbackInfo &info)
	{
		Napi::Array result = Napi::Array::New(info.Env());

		records.clear();
		int taken = ring_buffer__consume(Opened(info.Env()));
		if (taken != -ENOBUFS)
			Check(info.Env(), taken, "read the ring");
		for (const std::string &record : records)
			result[result.Length()] = NewBytes(info.Env(), record.data(), record.size());
		return result;
	}

	/* The poll handle must outlive uv_close()'s callback, so it is not a member. */
	void Watch(const Napi::CallbackInfo &info)
	{
		Napi::Env env = info.Env();
		uv_loop_t *loop;

		if (!info[0].IsFunction())
			throw Napi::TypeError::New(env, "callback must be a function");
		int fd = ring_buffer__epoll_fd(Opened(env));
		if (poll)
			throw Napi::Error::New(env, "The ring is already watched");
		napi_status status = napi_get_uv_event_loop(env, &loop);
		NAPI_THROW_IF_FAILED_VOID(env, status);
		auto handle = std::make_unique<uv_poll_t>();
		Check(env, uv_poll_init(loop, handle.get(), fd), "uv_poll_init");
		poll = handle.release();
		poll->data = this;
		callback = Napi::Persistent(info[0].As<Napi::Function>());
		Ref();
		uv_poll_start(poll, UV_READABLE, Notify);
	}

	static void Notify(uv_poll_t *handle, int, int)
	{
		Ring *self = static_cast<Ring *>(handle->data);
		Napi::Env env = self->callback.Env();
		Napi::HandleScope scope(env);

		/* libuv is C: no C++ exception may pass through it. */
		try {
			self->callback.MakeCallback(self->Value(), {});
		} catch (const Napi::Error &error) {
			napi_fatal_exception(env, error.Value());
		}
	}

	void StopWatching()
	{
		if (!poll)
			return;
		uv_poll_stop(poll);
		uv_close(reinterpret_cast<uv_handle_t *>(poll),
			 [](uv_handle_t *handle) { delete reinterpret_cast<uv_poll_t *>(handle); });
		poll = nullptr;
		callback.Reset();
	}

	void Close(const Napi::CallbackInfo &)
	{
		bool watched = poll != nullptr;

		StopWatching();
		ring.reset();
		if (watched)
			Unref();
	}

	ring_buffer *Opened(Napi::Env env)
	{
		if (!ring)
			throw Napi::Error::New(env, "The ring is closed");
		return ring.get();
	}

	std::unique_ptr<ring_buffer, void (*)(ring_buffer *)> ring{nullptr, ring_buffer__free};
	std::vector<std::string> records;
	uv_poll_t *poll = nullptr;
	Napi::FunctionReference callback;
};

Napi::Object Init(Napi::Env env, Napi::Object exports)
{
	libbpf_set_print(CollectLog);
	exports.DefineProperties({
	    Napi::PropertyDescriptor::Function(env, exports, "objGet", ObjGet),
	    Napi::PropertyDescriptor::Function(env, exports, "objPin", ObjPin),
	    Napi::PropertyDescriptor::Function(env, exports, "mapCreate", MapCreate),
	    Napi::PropertyDescriptor::Function(env, exports, "mapInfo", MapInfoOf),
	    Napi::PropertyDescriptor::Function(env, exports, "mapLookup", MapLookup),
	    Napi::PropertyDescriptor::Function(env, exports, "mapUpdate", MapUpdate),
	    Napi::PropertyDescriptor::Function(env, exports, "mapUpdateBatch", MapUpdateBatch),
	    Napi::PropertyDescriptor::Function(env, exports, "mapDelete", MapDelete),
	    Napi::PropertyDescriptor::Function(env, exports, "mapNextKey", MapNextKey),
	    Napi::PropertyDescriptor::Function(env, exports, "mapFreeze", MapFreeze),
	    Napi::PropertyDescriptor::Function(env, exports, "programInfo", ProgramInfoOf),
	    Napi::PropertyDescriptor::Function(env, exports, "linkInfo", LinkInfoOf),
	    Napi::PropertyDescriptor::Function(env, exports, "iterate", Iterate),
	    Napi::PropertyDescriptor::Function(env, exports, "enableStats", EnableStats),
	    Napi::PropertyDescriptor::Function(env, exports, "probe", Probe),
	    Napi::PropertyDescriptor::Function(env, exports, "argumentCounts", ArgumentCounts),
	    Napi::PropertyDescriptor::Function(env, exports, "readUnmounted", ReadUnmounted),
	    Napi::PropertyDescriptor::Function(env, exports, "flock", Flock),
	    Napi::PropertyDescriptor::Function(env, exports, "exchange", Exchange),
	    Napi::PropertyDescriptor::Function(env, exports, "pidfdOpen", PidfdOpen),
	    Napi::PropertyDescriptor::Function(env, exports, "pidfdSignal", PidfdSignal),
	    Napi::PropertyDescriptor::Function(env, exports, "getXattr", GetXattr),
	    Napi::PropertyDescriptor::Function(env, exports, "setXattr", SetXattr),
	    Napi::PropertyDescriptor::Function(env, exports, "removeXattr", RemoveXattr),
	    Napi::PropertyDescriptor::Function(env, exports, "peerOf", PeerOf),
	    Napi::PropertyDescriptor::Function(env, exports, "isListening", IsListening),
	    Napi::PropertyDescriptor::Function(env, exports, "sendPlan", SendPlan),
	    Napi::PropertyDescriptor::Function(env, exports, "sha256", Sha256),
	    Napi::PropertyDescriptor::Function(env, exports, "exitNow", ExitNow),
	});
	exports.Set("BpfObject", BpfObject::Define(env));
	exports.Set("Ring", Ring::Define(env));
	return exports;
}

} // namespace

NODE_API_MODULE(jailrun, Init)
