#!/bin/busybox sh
# First process of the test VM, in two lives. From the initramfs it mounts the host's file system read-only
# with a tmpfs over it, fills in what a booted system has, and moves there. Then it runs the command that
# vm.mjs left in the job directory, and reports on two virtio-serial ports:
#   /dev/vport*p1: "started", then "exited STATUS"     /dev/vport*p2: the command's output, untouched
# Whatever goes wrong ends in no status and a power-off, which vm.mjs reports as a failure.

power_off() {
	echo o >/proc/sysrq-trigger
	sleep 60
}

die() {
	echo "guest-init: $*" >/dev/kmsg
	power_off
}

boot() {
	/bin/busybox --install -s /bin
	mkdir -p /proc /sys /dev /lower /upper /root
	mount -t proc proc /proc
	mount -t sysfs sysfs /sys
	mount -t devtmpfs devtmpfs /dev
	for module in $(cat /modules.load); do
		insmod "$module" || die "insmod $module failed"
	done

	mount -t 9p -o ro,trans=virtio,version=9p2000.L,cache=loose,msize=524288 host /lower || die "no host root"
	mount -t tmpfs tmpfs /upper
	mkdir /upper/data /upper/work
	mount -t overlay -o lowerdir=/lower,upperdir=/upper/data,workdir=/upper/work root /root || die "no overlay"

	mount -t securityfs securityfs /sys/kernel/security
	mount -t bpf -o mode=700 bpf /sys/fs/bpf
	mount -t cgroup2 cgroup2 /sys/fs/cgroup
	mkdir /dev/pts /dev/shm
	mount -t devpts -o gid=5,mode=620,ptmxmode=666 devpts /dev/pts
	mount -t tmpfs -o mode=1777 tmpfs /dev/shm
	ln -s /proc/self/fd /dev/fd
	ln -s /proc/self/fd/0 /dev/stdin
	ln -s /proc/self/fd/1 /dev/stdout
	ln -s /proc/self/fd/2 /dev/stderr

	# So that modprobe, and a socket() that loads its family, work as on an installed system.
	mkdir -p /root/usr/lib/modules /root/mnt/ext4
	cp -a /lib/modules/* /root/usr/lib/modules/
	mount -t ext4 /dev/vda /root/mnt/ext4 || die "no scratch ext4"
	mount -t tmpfs -o mode=755 tmpfs /root/run
	mkdir -m 1777 /root/run/lock
	mkdir -m 700 /root/run/guest
	cp /bin/busybox /init /root/run/guest/
	job=$(sed -n 's/.*jailrun\.job=\([^ ]*\).*/\1/p' /proc/cmdline)
	cp "/lower$job/command" /root/run/guest/command || die "no command"
	mount -t tmpfs -o mode=1777 tmpfs /root/tmp

	ip link set lo up
	hostname jailrun-vm
	for directory in proc sys dev; do mount -o move "/$directory" "/root/$directory"; done
	exec switch_root /root /run/guest/busybox sh /run/guest/init run
}

# The port takes one opener at a time, so the command gets a pipe, which it may open again by name.
run_piped() {
	mkfifo /run/guest/output
	cat /run/guest/output >"$(echo /dev/vport*p2)" &
	relay=$!
	exec 4>/run/guest/output
	setsid /bin/sh /run/guest/command </dev/null >&4 2>&1 3>&- 4>&-
	status=$?
	exec 4>&-
	# What the command left running would hold the pipe open for ever.
	for process in /proc/[0-9]*; do
		process=${process#/proc/}
		[ "$process" = 1 ] || [ "$process" = "$relay" ] || kill -9 "$process" 2>/dev/null
	done
	wait "$relay"
}

run_on_terminal() {
	setsid -c /bin/sh /run/guest/command </dev/hvc0 >/dev/hvc0 2>&1 3>&-
	status=$?
}

case "$1" in
run)
	# Applets before the PATH: nothing here may depend on what the host has installed.
	/run/guest/busybox mkdir /run/guest/bin
	/run/guest/busybox --install -s /run/guest/bin
	PATH=/run/guest/bin
	exec 3>"$(echo /dev/vport*p1)" || die "no status port"
	echo started >&3
	if grep -q jailrun.terminal /proc/cmdline; then run_on_terminal; else run_piped; fi
	echo "exited $status" >&3
	power_off
	;;
*)
	boot
	;;
esac
