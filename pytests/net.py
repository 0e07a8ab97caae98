"""A network of our own: the namespace, veth pairs and taps in it, and hosts that speak on them.

Everything here vanishes with the process, whatever becomes of it: interfaces live in a namespace that
only this process and its children are in. Knows Ethernet and AoE frames; must never know a program.
"""

import ctypes
import itertools
import os
import pathlib
import select
import socket
import struct
import subprocess
import time

from scapy.layers.l2 import Ether

from aoe_layers import ETHERTYPE, AoE, AoeConfig, BROADCAST

CLONE_NEWNS, CLONE_NEWUSER, CLONE_NEWNET = 0x00020000, 0x10000000, 0x40000000
MS_REC, MS_PRIVATE = 0x4000, 0x40000
SOL_PACKET, PACKET_IGNORE_OUTGOING, SO_RCVBUFFORCE = 263, 23, 33

# How long a peer may take to answer on a machine that is busy with other things.
ANSWER_SECONDS = 5.0
# How long we go on listening for an answer that must not come, after a barrier was answered.
GRACE_SECONDS = 0.03

_libc = ctypes.CDLL(None, use_errno=True)


def _unshare(flags):
    if _libc.unshare(flags) != 0:
        errno = ctypes.get_errno()
        raise OSError(errno, os.strerror(errno), "unshare")


def enter_namespace():
    """Moves this process into new network and mount namespaces; without root, inside a new user namespace."""
    if os.geteuid() == 0:
        _unshare(CLONE_NEWNET | CLONE_NEWNS)
    else:
        uid, gid = os.geteuid(), os.getegid()
        _unshare(CLONE_NEWUSER | CLONE_NEWNET | CLONE_NEWNS)
        pathlib.Path("/proc/self/setgroups").write_text("deny")
        pathlib.Path("/proc/self/uid_map").write_text(f"0 {uid} 1")
        pathlib.Path("/proc/self/gid_map").write_text(f"0 {gid} 1")
    # No IPv6: its own neighbour and router frames are noise on a wire that we count frames on.
    for scope in ("all", "default"):
        path = pathlib.Path(f"/proc/sys/net/ipv6/conf/{scope}/disable_ipv6")
        if path.exists():
            path.write_text("1")
    socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0).close()  # raises where it is not allowed
    ip("link set lo up")


def private_tmpfs(keep_visible):
    """A file system in memory, seen by this process and its children alone: it vanishes with them, and a disk's
    slow O_DSYNC writes are not what is tested. Where: a folder that hides nothing of `keep_visible`."""
    shown = [os.path.realpath(path) for path in keep_visible]
    for place in ("/mnt", "/media", "/srv"):
        if os.path.isdir(place) and not any(f"{path}/".startswith(f"{place}/") for path in shown):
            break
    else:
        raise OSError("no folder to mount a tmpfs on")
    for source, target, kind, flags, data in (
        (b"none", b"/", None, MS_REC | MS_PRIVATE, None),
        (b"aoe-pytest", place.encode(), b"tmpfs", 0, b"mode=0755,size=1g"),
    ):
        if _libc.mount(source, target, kind, ctypes.c_ulong(flags), data) != 0:
            errno = ctypes.get_errno()
            raise OSError(errno, os.strerror(errno), f"mount {target.decode()}")
    return place


def ip(*lines):
    """Runs `ip -batch` with these lines."""
    done = subprocess.run(
        ["ip", "-batch", "-"], input="\n".join(lines), capture_output=True, text=True, timeout=20
    )
    if done.returncode != 0:
        raise OSError(f"ip: {done.stderr.strip()} in: {lines}")


_numbers = itertools.count(1)


class Link:
    """A veth pair: the target stands at `target_end`, hosts speak at `host_end`."""

    def __init__(self, mtu=1500):
        number = next(_numbers)
        self.mtu = mtu
        self.target_end, self.host_end = f"tgt{number}", f"ini{number}"
        ip(
            f"link add {self.target_end} mtu {mtu} type veth peer name {self.host_end} mtu {mtu}",
            f"link set {self.target_end} up",
            f"link set {self.host_end} up",
        )
        self.target_mac = mac_of(self.target_end)
        self._hosts = []

    def host(self, mac=None):
        """A host with an address of its own; the interface's unless told."""
        made = Host(self.host_end, mac or mac_of(self.host_end))
        self._hosts.append(made)
        return made

    def close(self):
        for host in self._hosts:
            host.close()
        subprocess.run(
            ["ip", "link", "del", self.host_end], capture_output=True, timeout=20, check=False
        )


class Segment:
    """One Ethernet of several ports: a bridge with a veth pair for each. `ports[i]` is where a machine stands."""

    def __init__(self, ports, mtu=1500):
        number = next(_numbers)
        self._bridge = f"seg{number}"
        self.ports = [f"port{number}x{i}" for i in range(ports)]
        ip(f"link add {self._bridge} mtu {mtu} type bridge", f"link set {self._bridge} up")
        for i, port in enumerate(self.ports):
            inside = f"seg{number}x{i}"
            ip(
                f"link add {port} mtu {mtu} type veth peer name {inside} mtu {mtu}",
                f"link set {inside} master {self._bridge}",
                f"link set {inside} up",
                f"link set {port} up",
            )

    def close(self):
        for name in [*self.ports, self._bridge]:
            subprocess.run(["ip", "link", "del", name], capture_output=True, timeout=20, check=False)


def mac_of(interface):
    """The interface's address, by SIOCGIFHWADDR: /sys shows another namespace's interfaces."""
    import fcntl

    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asked:
        raw = fcntl.ioctl(asked, 0x8927, struct.pack("256s", interface.encode()))
    return ":".join("%02x" % b for b in raw[18:24])


class NoAnswer(AssertionError):
    pass


class Host:
    """An initiator: one source address on one interface, with a socket of its own.

    Replies addressed to it that nobody waited for are kept in `strays`.
    """

    def __init__(self, interface, mac):
        self.interface, self.mac = interface, mac
        self.strays = []
        self.broadcasts = []  # what came to everybody: announcements
        self._tags = itertools.count(int.from_bytes(os.urandom(3), "big") << 4 | 0x70000000)
        self._socket = socket.socket(
            socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETHERTYPE)
        )
        try:
            self._socket.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 16 << 20)
        except OSError:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
        self._socket.setsockopt(SOL_PACKET, PACKET_IGNORE_OUTGOING, 1)
        self._socket.bind((interface, ETHERTYPE))
        self._mine = bytes.fromhex(mac.replace(":", ""))

    def close(self):
        self._socket.close()

    def tag(self):
        """A tag that nobody used here before. Never 0, and far from the small numbers of tests."""
        return next(self._tags) & 0xFFFFFFFF

    def send(self, frame):
        """Sends a packet, or bytes as they are."""
        self._socket.send(bytes(frame))

    def receive(self, seconds):
        """The next frame for this host as bytes, or None. Broadcasts are put aside."""
        deadline = time.monotonic() + seconds
        while True:
            left = max(0.0, deadline - time.monotonic())
            if not select.select([self._socket], [], [], left)[0]:
                return None
            raw = self._socket.recv(65536)
            if raw[:6] == self._mine:
                return raw
            if raw[0] & 1:
                self.broadcasts.append(raw)

    def frame(self, message, dst=BROADCAST, **header):
        """Ether / AoE / message from this host with a fresh tag, unless `header` says otherwise."""
        header.setdefault("tag", self.tag())
        return Ether(dst=dst, src=self.mac) / AoE(**header) / message

    def ask(self, frame, seconds=ANSWER_SECONDS):
        """Sends and returns the reply: the frame for us with this tag. Asserts that one comes."""
        raw = bytes(frame)
        self.send(raw)
        return self.await_tag(raw[20:24], seconds, raw)

    def await_tag(self, tag, seconds=ANSWER_SECONDS, sent=b""):
        tag = tag if isinstance(tag, bytes) else struct.pack("!I", tag)
        deadline = time.monotonic() + seconds
        while True:
            raw = self.receive(deadline - time.monotonic())
            if raw is None:
                raise NoAnswer(f"no answer in {seconds} s to tag {tag.hex()}: {sent[:64].hex()}")
            if raw[20:24] == tag and raw[14] & 8:
                return Ether(raw)
            self.strays.append(raw)

    def try_ask(self, frame, seconds):
        try:
            return self.ask(frame, seconds)
        except NoAnswer:
            return None

    def drain(self, seconds=0.0):
        """Everything that is there for this host, strays included, in order of arrival."""
        while (raw := self.receive(seconds)) is not None:
            self.strays.append(raw)
        found, self.strays = self.strays, []
        return found

    def expect_silence(self, frame, barrier):
        """Sends `frame`, then has the host `barrier` ask something that is answered, and asserts that
        nothing came for the former: proof of silence without a long wait."""
        self.drain()
        self.send(frame)
        barrier.ask(barrier.frame(AoeConfig(aoe_version=1)))
        came = self.drain(GRACE_SECONDS)
        assert came == [], f"answered what must be met with silence: {came[0].hex()}"
