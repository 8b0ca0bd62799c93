# The ways out of a jail that go through sockets and what scripts do, as escape.c tries the others: a way a line
# from standard input, "achieved: …" or "nothing: ERROR" for each.
import array
import ctypes
import errno
import os
import signal
import socket
import sys

SECRET = b"known outside"


def unix_address(name):
    return b"\0" + name[1:].encode() if name.startswith("@") else name


def connect(name):
    """To a socket of a service, by either kind."""
    for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
        try:
            with socket.socket(socket.AF_UNIX, kind) as client:
                client.connect(unix_address(name))
                return "it talks to it"
        except OSError as error:
            # It listens as the other kind.
            if error.errno != errno.EPROTOTYPE:
                raise
    return None


def received(name):
    """Is given a file by a process outside that has it open."""
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(unix_address(name))
        data, control, *_ = client.recvmsg(16, socket.CMSG_SPACE(4))
        for _, kind, content in control:
            if kind == socket.SCM_RIGHTS:
                fd = array.array("i", content)[0]
                return "it read a file" if SECRET in os.pread(fd, 64, 0) else None
    return None


def watch(directory):
    """Learns what happens in a directory."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.inotify_add_watch(libc.inotify_init(), directory.encode(), 0xFFF) < 0:
        raise OSError(ctypes.get_errno(), "")
    return "it watches"


def read(path):
    with open(path, "rb") as file:
        return "it read a file" if SECRET in file.read(64) else None


def shout(terminal):
    """Writes on a terminal where somebody else works."""
    os.write(os.open(terminal, os.O_WRONLY | os.O_NOCTTY), b"shouted\n")
    return "it wrote on a terminal"


def pretend(pid):
    """Says to be another process, at which a service looks that trusts root's processes by their number."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    theirs.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
    credentials = array.array("i", [int(pid), 0, 0]).tobytes()
    ours.sendmsg([b"x"], [(socket.SOL_SOCKET, 2, credentials)])
    return "it pretended to be another process"


WAYS = {function.__name__: function for function in (connect, received, watch, read, shout, pretend)}

for line in sys.stdin:
    name, *words = line.split()
    signal.alarm(20)
    try:
        achieved = WAYS[name](*words)
        print(f"achieved: {achieved}" if achieved else "nothing: 0", flush=True)
    except OSError as error:
        print(f"nothing: {errno.errorcode.get(error.errno, error.errno)}", flush=True)
