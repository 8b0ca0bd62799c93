/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * oci wrap: stands in a runtime's place for engines that have no hooks (Docker), and for runc and crun alone.
 * It finds the bundle in the runtime's arguments as both runtimes would, has the launcher add the hook to its
 * config.json, and executes the real runtime in its own process, so that nothing of how it was called
 * changes.
 *
 * What it does not know it refuses: an option that might take the next word, or a command that might start
 * something, could otherwise lead it to the wrong bundle, and the container would run unjailed.
 */
#define _GNU_SOURCE
#include "wrap.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "caller.h"
#include "launcher.h"
#include "message.h"

static const char *const runtimes[] = {"runc", "crun", NULL};

/* Of runc 1.0 to 1.3 and crun 1.0 to 1.23, before the command; neither takes a value where the other does
 * not. */
static const char *const global_values[] = {"cgroup-manager", "criu", "log",      "log-format",
					    "log-level",      "root", "rootless", NULL};
static const char *const global_flags[] = {"debug", "systemd-cgroup", NULL};

/* The same for create and run. */
static const char *const container_values[] = {
    "b", "bundle", "config", "console-socket", "f", "pid-file", "pidfd-socket", "preserve-fds", NULL};
static const char *const container_flags[] = {"d",        "detach",       "keep", "no-new-keyring",
					      "no-pivot", "no-subreaper", NULL};

/* With one of these a runtime answers and makes no container. */
static const char *const questions[] = {"?", "h", "help", "usage", "v", "V", "version", NULL};

/*
 * Commands that begin nothing. What `exec` starts joins the container's cgroup, and so its jail. `restore`,
 * which neither this list nor making() has, would bring back processes that execute nothing and so are never
 * jailed.
 */
static const char *const harmless[] = {"checkpoint", "delete", "events", "exec",   "features", "h",
				       "help",       "kill",   "list",   "mounts", "pause",    "ps",
				       "resume",     "spec",   "start",  "state",  "update",   NULL};

static const struct voice voice = {.fd = STDERR_FILENO};

static bool contains(const char *const words[], const char *word, size_t length)
{
	for (; *words; words++)
		if (strlen(*words) == length && strncmp(*words, word, length) == 0)
			return true;
	return false;
}

/* The runtime that the program's own name stands for, NULL where it is another name. */
static const char *named_runtime(const char *name)
{
	const char *slash = strrchr(name, '/');
	const char *base = slash ? slash + 1 : name;

	if (strncmp(base, "jailrun-", strlen("jailrun-")) != 0)
		return NULL;
	base += strlen("jailrun-");
	return contains(runtimes, base, strlen(base)) ? base : NULL;
}

bool is_wrapper(int argc, char *const argv[])
{
	if (argc > 0 && named_runtime(argv[0]))
		return true;
	if (argc < 3 || strcmp(argv[1], "oci") != 0 || strcmp(argv[2], "wrap") != 0)
		return false;
	return argc < 4 || (strcmp(argv[3], "--help") != 0 && strcmp(argv[3], "-h") != 0);
}

/* What the wrapper is called with: the real runtime and the arguments for it. */
struct call {
	const char *runtime; /* a path, or a name to be found in PATH */
	char **arguments;    /* the first is to become the runtime's argument 0 */
};

static bool read_call(char *argv[], struct call *call)
{
	static const char option[] = "--runtime";
	char **word = argv + 3;

	call->runtime = named_runtime(argv[0]);
	call->arguments = argv;
	if (call->runtime)
		return true;
	if (*word && strncmp(*word, option, strlen(option)) == 0) {
		const char *value = *word + strlen(option);

		if (*value == '=')
			call->runtime = value + 1;
		else if (*value == '\0' && word[1])
			call->runtime = *++word;
		word++;
	}
	/* The word in front of the runtime's first argument makes room for its argument 0. */
	if (*word && strcmp(*word, "--") == 0)
		word++;
	call->arguments = word - 1;
	return call->runtime && *call->runtime;
}

/* Itself in the runtime's place would execute itself for ever. */
static bool is_other_program(const char *path)
{
	struct stat found, own;

	return stat(path, &found) == 0 && S_ISREG(found.st_mode) && access(path, X_OK) == 0 &&
	       stat("/proc/self/exe", &own) == 0 &&
	       (found.st_dev != own.st_dev || found.st_ino != own.st_ino);
}

/* Fills in the path of the real runtime. Directories of PATH that are not absolute do not count. */
static bool find_runtime(const char *runtime, char path[PATH_MAX])
{
	const char *places = getenv("PATH");

	if (strchr(runtime, '/'))
		return snprintf(path, PATH_MAX, "%s", runtime) < PATH_MAX && is_other_program(path);
	if (!places)
		places = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
	while (*places) {
		int length = strcspn(places, ":");

		if (*places == '/' &&
		    snprintf(path, PATH_MAX, "%.*s/%s", length, places, runtime) < PATH_MAX &&
		    is_other_program(path))
			return true;
		places += length + (places[length] == ':');
	}
	return false;
}

/* What a word that begins with a dash is. */
struct option {
	const char *name;
	size_t length;
	const char *value; /* of its own word, behind an equals sign or a letter */
	bool is_short;
};

static struct option read_option(const char *word)
{
	struct option option = {.is_short = word[1] != '-'};
	const char *equals;

	option.name = word + (option.is_short ? 1 : 2);
	equals = strchr(option.name, '=');
	option.length = equals ? (size_t)(equals - option.name) : strlen(option.name);
	option.value = equals ? equals + 1 : NULL;
	return option;
}

static bool is_question(const struct option *option)
{
	/* --help=false is none. */
	return !option->value && contains(questions, option->name, option->length);
}

static bool is_named(const struct option *option, const char *name)
{
	return option->length == strlen(name) && strncmp(option->name, name, option->length) == 0;
}

static bool refuse_option(const char *word, const char *mend)
{
	complain(voice, "RUNTIME_OPTION",
		 "The container was not started: %s may lead the runtime to another bundle than jailrun. %s",
		 word, mend);
	return false;
}

/* What is to be done before the runtime is executed. */
struct task {
	bool adds_hooks;
	char config[PATH_MAX]; /* of the bundle, where hooks are added */
};

/* Finds the bundle's config.json among the words behind create or run. */
static bool read_container(char *const words[], struct task *task)
{
	const char *bundle = ".", *config = "config.json";
	int length;

	/* runc takes options behind the container's name, too. */
	for (; *words && strcmp(*words, "--") != 0; words++) {
		const char *word = *words;
		struct option option;
		const char *value;

		if (word[0] != '-' || word[1] == '\0')
			continue;
		option = read_option(word);
		if (is_question(&option))
			return true;
		/* To crun -bundle is -b undle and -b=DIR the directory =DIR, to runc neither. */
		if (option.is_short && option.name[1] != '\0')
			return refuse_option(word, "Spell it out: --bundle DIR, --config FILE");
		if (contains(container_flags, option.name, option.length))
			continue;
		if (!contains(container_values, option.name, option.length))
			return refuse_option(word, "Use a jailrun that knows it, or leave it out");
		value = option.value ? option.value : *++words;
		if (!value)
			break;
		if (is_named(&option, "bundle") || is_named(&option, "b"))
			bundle = *value ? value : ".";
		if (is_named(&option, "config") || is_named(&option, "f"))
			config = value;
	}
	/* crun finds a relative one from where it is called, runc in the bundle. */
	if (strcmp(config, "config.json") != 0 && *config != '/')
		return refuse_option("--config", "Name the file by its whole path");
	if (*config == '/')
		length = snprintf(task->config, sizeof(task->config), "%s", config);
	else
		length = snprintf(task->config, sizeof(task->config), "%s/config.json", bundle);
	if (length >= (int)sizeof(task->config))
		return refuse_option("--bundle", "Give it a shorter path");
	task->adds_hooks = true;
	return true;
}

/* Reads the runtime's arguments as the runtime will. Fails after saying why. */
static bool read_task(char *const words[], struct task *task)
{
	task->adds_hooks = false;
	for (; *words && **words == '-'; words++) {
		struct option option = read_option(*words);

		if (strcmp(*words, "--") == 0) {
			words++;
			break;
		}
		if (is_question(&option))
			return true;
		if (contains(global_flags, option.name, option.length))
			continue;
		if (!contains(global_values, option.name, option.length))
			return refuse_option(*words, "Use a jailrun that knows it, or leave it out");
		if (!option.value && !*++words)
			return true;
	}
	if (!*words || contains(harmless, *words, strlen(*words)))
		return true;
	if (strcmp(*words, "create") == 0 || strcmp(*words, "run") == 0)
		return read_container(words + 1, task);
	if (strcmp(*words, "restore") == 0)
		complain(voice, "RUNTIME_COMMAND",
			 "The container was not started: what is restored executes nothing, so no hook could "
			 "jail it. Start the container anew");
	else
		complain(
		    voice, "RUNTIME_COMMAND",
		    "The runtime was not started: jailrun does not know its command %s, which might start a "
		    "container unjailed. Use a jailrun that knows it",
		    *words);
	return false;
}

/* Has the launcher add the hook to the bundle. Fails after saying why. */
static bool add_hooks(const struct task *task, const struct caller *caller)
{
	struct launcher launcher = {.caller = caller, .voice = voice};
	int nothing = open("/dev/null", O_RDONLY | O_CLOEXEC);
	int descriptors[] = {nothing, STDERR_FILENO, STDERR_FILENO};
	char option[sizeof("--config=") + PATH_MAX];
	char *const arguments[] = {"add-hooks", option, NULL};
	struct process node = {-1, -1};
	siginfo_t end;

	snprintf(option, sizeof(option), "--config=%s", task->config);
	if (nothing >= 0 && find_script(&launcher))
		node = start_launcher(&launcher, arguments, descriptors,
				      sizeof(descriptors) / sizeof(*descriptors));
	if (node.pid < 0) {
		complain(voice, "SYSTEM",
			 "The container was not started: the launcher cannot be: %s. See: jailrun doctor",
			 strerror(errno));
		return false;
	}
	end = wait_for_end(node);
	restore_streams(caller);
	/* An end of its own it has explained. */
	if (end.si_code != CLD_EXITED)
		complain(voice, "LAUNCHER",
			 "The container was not started: signal %d ended the launcher. Start it again",
			 end.si_status);
	return ended_well(&end);
}

int wrap(int argc, char *argv[])
{
	struct caller caller;
	struct task task;
	struct call call;
	char runtime[PATH_MAX];

	(void)argc;
	if (!read_call(argv, &call)) {
		complain(voice, "USAGE",
			 "No runtime is named. Say: jailrun oci wrap --runtime /usr/sbin/runc -- ARGUMENT…");
		return STATUS_FAILED;
	}
	if (!find_runtime(call.runtime, runtime)) {
		complain(
		    voice, "NO_RUNTIME",
		    "There is no runtime %s beside jailrun itself. Name one by its path: jailrun oci wrap "
		    "--runtime /usr/sbin/runc -- ARGUMENT…",
		    call.runtime);
		return STATUS_FAILED;
	}
	if (!read_task(call.arguments + 1, &task))
		return STATUS_FAILED;
	if (task.adds_hooks) {
		if (!take_over(&caller)) {
			complain(voice, "SYSTEM",
				 "The container was not started: a standard stream is closed and /dev/null "
				 "cannot be opened. Mount /dev");
			return STATUS_FAILED;
		}
		if (!add_hooks(&task, &caller))
			return STATUS_FAILED;
		give_back(&caller);
	}
	call.arguments[0] = runtime;
	execv(runtime, call.arguments);
	complain(voice, "NO_RUNTIME", "%s: cannot be executed: %s", runtime, strerror(errno));
	return STATUS_FAILED;
}
