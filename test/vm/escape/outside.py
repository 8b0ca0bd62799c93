# A process outside of every jail, of the same user, with what a jail could be after: a secret in its memory and
# in a file that only it has open, a terminal, and sockets at the places of services. It prints where those are,
# and then a line for each thing that was done to it.
import array
import ctypes
import fcntl
import json
import os
import pty
import select
import signal
import socket
import sys
import termios
import time

SECRET = b"known outside"
directory, *names = sys.argv[1:]

memory = ctypes.create_string_buffer(SECRET)
path = f"{directory}/unnamed"
with open(path, "wb") as file:
    file.write(SECRET)
secret = os.open(path, os.O_RDONLY)
os.unlink(path)
master, slave = pty.openpty()
# Its own terminal: the process group in the foreground is this one.
fcntl.ioctl(slave, termios.TIOCSCTTY, 0)
signal.signal(signal.SIGURG, lambda *_: os.write(1, b"signalled by another\n"))
signal.signal(signal.SIGWINCH, lambda *_: os.write(1, b"signalled by its terminal\n"))


def listener(name, kind):
    server = socket.socket(socket.AF_UNIX, kind)
    if not name.startswith("@"):
        os.makedirs(os.path.dirname(name), exist_ok=True)
        if os.path.exists(name):
            os.unlink(name)
    server.bind(b"\0" + name[1:].encode() if name.startswith("@") else name)
    return server


servers = {listener(name, socket.SOCK_STREAM): name for name in names}
for server in servers:
    server.listen(64)
uevents = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 15)
uevents.bind((0, 3))
place = {"pid": os.getpid(), "address": ctypes.addressof(memory), "fd": secret, "terminal": os.ttyname(slave)}
print(json.dumps(place), flush=True)

typed = 0
while True:
    # Somebody types.
    if time.monotonic() > typed + 0.5:
        typed = time.monotonic()
        os.write(master, b"\n")
    for ready in select.select([master, uevents, *servers], [], [], 0.5)[0]:
        if ready == master:
            if b"shouted" in os.read(master, 1000):
                print("shouted at", flush=True)
        elif ready == uevents:
            if b"escape" in uevents.recv(4096):
                print("uevent", flush=True)
        else:
            client, _ = ready.accept()
            print("connected", servers[ready], flush=True)
            rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [secret]))]
            try:
                client.sendmsg([b"x"], rights)
            except OSError:
                pass
            client.close()
