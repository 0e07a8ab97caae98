"""Programs under test and real peers: started, waited for by an event, ended by their own pid.

A program dies with this process, however that ends (PR_SET_PDEATHSIG). Knows command lines; must never
know what a frame means beyond "it answers".
"""

import ctypes
import os
import select
import signal
import subprocess
import tempfile
import time

PR_SET_PDEATHSIG = 1
# How long a program may take to start or to end on a busy machine, and under a sanitizer.
START_SECONDS = END_SECONDS = 20.0

_libc = ctypes.CDLL(None, use_errno=True)


def _die_with_parent():
    _libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def run(command, seconds=30, **options):
    """A program that ends by itself; text output. Dies with us, and after `seconds`."""
    options.setdefault("stdin", subprocess.DEVNULL)
    if options["stdin"] is None or "input" in options:
        del options["stdin"]
    return subprocess.run(
        [str(word) for word in command],
        capture_output=True,
        text=True,
        errors="replace",
        timeout=seconds,
        preexec_fn=_die_with_parent,
        **options,
    )


class Program:
    """A program that runs until it is told to end. Its output goes to files, so that it never blocks on us."""

    def __init__(self, command, pass_fds=(), **options):
        self.command = [str(word) for word in command]
        self._out = tempfile.TemporaryFile()
        self._err = tempfile.TemporaryFile()
        self.process = subprocess.Popen(
            self.command,
            stdin=options.pop("stdin", subprocess.DEVNULL),
            stdout=self._out,
            stderr=self._err,
            pass_fds=pass_fds,
            preexec_fn=_die_with_parent,
            **options,
        )

    @property
    def pid(self):
        return self.process.pid

    @property
    def alive(self):
        return self.process.poll() is None

    def output(self):
        return self._read(self._out)

    def errors(self):
        return self._read(self._err)

    @staticmethod
    def _read(file):
        size = os.fstat(file.fileno()).st_size
        return os.pread(file.fileno(), size, 0).decode(errors="replace")

    def said(self):
        return (
            f"{' '.join(self.command)}\nexit code: {self.process.poll()}\n"
            f"stdout: {self.output()}\nstderr: {self.errors()}"
        )

    def kill(self, number):
        self.process.send_signal(number)

    def wait(self, seconds=END_SECONDS):
        """Its exit code (negative: the signal that killed it)."""
        try:
            return self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"did not end in {seconds} s: {self.said()}") from None

    def end(self, number=signal.SIGTERM):
        """Ends this very process and no other; kill -9 if it does not listen."""
        if self.alive:
            self.kill(number)
            try:
                self.process.wait(END_SECONDS)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
                raise AssertionError(f"ignored signal {number}: {self.said()}") from None
        return self.process.returncode

    def close(self):
        if self.alive:
            self.process.kill()
        self.process.wait()
        self._out.close()
        self._err.close()

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self.close()


def wait_until(condition, seconds=START_SECONDS, step_seconds=0.01, what="condition"):
    """For what offers no event: polls until the condition holds, and fails after a bound."""
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        if time.monotonic() > deadline:
            raise AssertionError(f"{what}: not in {seconds} s")
        time.sleep(step_seconds)
    return found


class AoeTarget(Program):
    """aoe-target, ready when it says so through --ready-fd."""

    def __init__(self, binary, *arguments, prefix=(), **options):
        reading, writing = os.pipe()
        command = [*prefix, binary, "--ready-fd", writing, *arguments]
        try:
            super().__init__(command, pass_fds=(writing,), **options)
        finally:
            os.close(writing)
        try:
            if not select.select([reading], [], [], START_SECONDS)[0]:
                raise AssertionError(f"not ready in {START_SECONDS} s: {self.said()}")
            if not os.read(reading, 64):
                self.wait()
                raise AssertionError(f"ended before it was ready: {self.said()}")
        except BaseException:
            self.close()
            raise
        finally:
            os.close(reading)


class Vblade(Program):
    """Debian's vblade, which says nothing when it is ready: asked until it answers."""

    def __init__(self, link, image, shelf=1, slot=1, options=()):
        super().__init__(["vblade", *options, shelf, slot, link.target_end, image])
        from aoe_layers import AoeConfig

        asking = link.host()

        def answers():
            if not self.alive:
                raise AssertionError(f"ended before it was ready: {self.said()}")
            request = asking.frame(AoeConfig(), shelf=shelf, slot=slot)
            return asking.try_ask(request, 0.05)

        try:
            wait_until(answers, what="vblade answers")
        except BaseException:
            self.close()
            raise
