"""A disk that can lose its power, for nbdkit's python plugin: of what no flush covered a random part is kept.

    nbdkit -f -U SOCKET python careless_disk.py size=BYTES control=SOCKET [lies=1]

The control socket takes one line and answers "ok": `cut SEED` (every sector that was written since the last flush is kept or
forgotten, by the seed; from then on the disk fails everything), `on`. With lies=1 a flush does nothing.
"""

import errno
import random
import socket
import threading

import nbdkit

API_VERSION = 2
SECTOR = 512

_lock = threading.Lock()
_settings = {"size": 0, "control": "", "lies": "0"}
_visible = bytearray()  # what a read sees
_durable = bytearray()  # what power cuts leave
_dirty = set()  # sectors in which they may differ
_dead = False


def config(key, value):
    if key not in _settings:
        raise RuntimeError(f"unknown setting: {key}")
    _settings[key] = value


def config_complete():
    global _visible, _durable
    _visible = bytearray(int(_settings["size"]))
    _durable = bytearray(_visible)


def after_fork():
    listening = socket.socket(socket.AF_UNIX)
    listening.bind(_settings["control"])
    listening.listen(4)
    threading.Thread(target=_serve, args=(listening,), daemon=True).start()


def _serve(listening):
    while True:
        client, _ = listening.accept()
        with client:
            words = client.makefile().readline().split()
            client.sendall(_obey(words))


def _obey(words):
    global _dead
    with _lock:
        if words[:1] == ["cut"]:
            choose = random.Random(words[1])
            for sector in sorted(_dirty):
                at = slice(sector * SECTOR, (sector + 1) * SECTOR)
                if choose.random() < 0.5:
                    _durable[at] = _visible[at]
                else:
                    _visible[at] = _durable[at]
            _dirty.clear()
            _dead = True
        elif words == ["on"]:
            _dead = False
        else:
            return b"error: cut SEED or on\n"
    return b"ok\n"


def _alive():
    if _dead:
        nbdkit.set_error(errno.EIO)
        raise RuntimeError("no power")


def thread_model():
    return nbdkit.THREAD_MODEL_PARALLEL


def open(readonly):
    return 1


def get_size(handle):
    return len(_visible)


def can_flush(handle):
    return True


def pread(handle, buffer, offset, flags):
    with _lock:
        _alive()
        buffer[:] = _visible[offset : offset + len(buffer)]


def pwrite(handle, buffer, offset, flags):
    with _lock:
        _alive()
        _visible[offset : offset + len(buffer)] = buffer
        _dirty.update(range(offset // SECTOR, (offset + len(buffer) + SECTOR - 1) // SECTOR))


def flush(handle, flags):
    with _lock:
        _alive()
        if _settings["lies"] == "1":
            return
        for sector in _dirty:
            at = slice(sector * SECTOR, (sector + 1) * SECTOR)
            _durable[at] = _visible[at]
        _dirty.clear()
