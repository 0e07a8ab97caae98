"""Nothing of the user's stays changed: what a run had changed when it was killed is put back by whoever comes next."""

import random
import signal
import time

import pytest

from programs import Program, run, wait_until
from test_target_process import ask_control

KILLS_MAX = 40


@pytest.fixture
def ground(start, tmp_path, aoe_conformance, link, image, state_folder):
    """The reference with lists and a string that last, and the suite against it."""

    class Ground:
        control = tmp_path / "control"
        state = tmp_path / "target-state"
        folder = state_folder / "aoe-conformance"
        place = ["--interface", link.host_end, "--shelf", 1, "--slot", 1]

        def serve(self, *options):
            self.state.mkdir(exist_ok=True)
            self.target = start("--control", self.control, "--state-dir", self.state, *options)

        def standing(self):
            return image.read_bytes(), ask_control(self.control, "show")

        def settled(self):
            """When what a killed run had sent was taken: its last frames may wait for the target still."""
            before = None
            while before != (before := self.standing()):
                time.sleep(0.05)
            return before

        def run(self, *words):
            return run([aoe_conformance, "run", *self.place, "--allow", "all", "--quiet", *words], seconds=120)

        def restore(self, *words):
            return run([aoe_conformance, "restore", *words], seconds=60)

        def begin(self, *words):
            return Program([aoe_conformance, "run", *self.place, "--allow", "all", "--quiet", *words])

    made = Ground()
    made.serve()
    return made


@pytest.mark.parametrize("pattern, changed_wanted", [("ata.write*", 3), ("mask.*", 2), ("config.*", 2), ("reserve.*", 2)])
def test_what_a_killed_run_had_changed_is_put_back(ground, pattern, changed_wanted):
    """Killed at moments of no choice until so many kills fell where something was changed."""
    draw = random.Random(pattern)
    before = ground.standing()
    changed = 0
    for _ in range(KILLS_MAX):
        with ground.begin("--case", pattern) as running:
            wait_until(lambda: any(ground.folder.glob("*.undo")) or not running.alive, what="an undo file")
            time.sleep(draw.uniform(0, 0.15))
            ended = not running.alive
            running.kill(signal.SIGKILL)
            running.wait()
        if ended:
            continue
        if ground.settled() != before:
            changed += 1
            again = ground.run("--case", "header.version.*")
            assert again.returncode in (2, 3), again
            assert "aoe-conformance restore" in again.stdout + again.stderr
        if any(ground.folder.glob("*.undo")):
            done = ground.restore()
            assert done.returncode == 0, done
            assert done.stdout.startswith("put back on 1.1 at "), done.stdout
        assert ground.standing() == before
        assert not any(ground.folder.iterdir())
        if changed == changed_wanted:
            break
    assert changed == changed_wanted, f"of {KILLS_MAX} kills {changed} fell where something was changed"


def test_a_run_may_put_back_first(ground, image):
    before = ground.standing()
    with ground.begin("--case", "ata.write*", "--repeat", 20) as running:
        wait_until(lambda: image.read_bytes() != before[0] or not running.alive, step_seconds=0, what="a write")
        running.kill(signal.SIGKILL)
        running.wait()
    done = ground.run("--case", "header.version.*", "--restore-first")
    assert done.returncode == 0, done
    assert ground.standing() == before and not any(ground.folder.iterdir())


def test_a_second_signal_ends_at_once_and_says_what_to_do(ground):
    with ground.begin("--case", "tags.*", "--repeat", 50) as running:
        wait_until(lambda: any(ground.folder.glob("*.undo")), what="an undo file")
        ground.target.kill(signal.SIGSTOP)  # so that putting back takes its time
        time.sleep(0.1)
        running.kill(signal.SIGTERM)
        time.sleep(0.5)
        began = time.monotonic()
        running.kill(signal.SIGTERM)
        assert running.wait() == 128 + signal.SIGTERM
        assert time.monotonic() - began < 1
        (left,) = ground.folder.glob("*.undo")
        assert f"aoe-conformance restore --undo-file {left}" in running.errors()
    ground.target.kill(signal.SIGCONT)
    assert ground.restore("--undo-file", left).returncode == 0


def test_a_target_that_is_gone_keeps_its_file_and_another_disk_gets_nothing(ground, image):
    before = ground.standing()
    with ground.begin("--case", "ata.write*", "--repeat", 20) as running:
        wait_until(lambda: image.read_bytes() != before[0] or not running.alive, step_seconds=0, what="a write")
        running.kill(signal.SIGKILL)
        running.wait()
    changed, _ = ground.settled()
    assert ground.target.end() == 0
    gone = ground.restore()
    assert gone.returncode == 3 and "does not answer" in gone.stderr, gone
    ground.serve("--serial", "another")
    other = ground.restore()
    assert other.returncode == 2 and "nothing was put back" in other.stderr and "--any-disk" in other.stderr, other
    assert image.read_bytes() == changed
    assert ground.target.end() == 0
    ground.serve()
    assert ground.restore().returncode == 0
    assert ground.standing() == before


def test_a_damaged_file_is_said(ground, tmp_path):
    file = tmp_path / "damaged.undo"
    file.write_text('{"format": "aoe-conformance-undo-1", "target"')
    for done in (ground.restore("--undo-file", file), ground.run("--undo-file", file)):
        assert done.returncode == 2 and "damaged.undo is " in done.stderr, done
        assert len(done.stderr.strip().splitlines()) == 1
    assert file.exists()


def test_nothing_to_put_back_is_good(ground):
    done = ground.restore()
    assert (done.returncode, done.stdout) == (0, "nothing was left to be put back\n")
