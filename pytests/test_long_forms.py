"""Short forms of the commands that take minutes and are run by hand."""

import sys

import pytest

from conftest import PROJECT
from programs import run


@pytest.fixture
def script(build, namespace):
    def call(name, *words, seconds=280):
        return run([sys.executable, PROJECT / "pytests" / name, "--build", build, *words], seconds=seconds)

    return call


@pytest.mark.timeout(300)
def test_a_verdict_does_not_depend_on_what_ran_before(script):
    done = script("isolation.py", "--case", "reserve.force.*", "--case", "mask.edit.*", "--sample", 6, "--image-mib", 64)
    assert done.returncode == 0, f"{done.stdout}{done.stderr}"
    assert "aoe-target, MTU 1500: 6 cases alone" in done.stdout
    assert "0 came out otherwise" in done.stdout


@pytest.mark.timeout(300)
def test_an_attack_is_measured_and_told(script):
    done = script("attack.py", "--only", "query config", "--rounds", 1, "--seconds", 0.2)
    assert done.returncode in (0, 1), f"{done.stdout}{done.stderr}"  # a busy machine proves no bound
    assert "| query config | 50,000 |" in done.stdout
    assert done.returncode == 0 or "attack: query config" in done.stderr


@pytest.mark.timeout(300)
def test_what_was_promised_is_there_after_a_crash(script):
    done = script("durability.py", "--cycles", 2)
    if done.returncode == 69:
        pytest.skip(done.stderr.strip())
    assert done.returncode == 0, f"{done.stdout}{done.stderr}"
    assert "a disk that lies: found out" in done.stdout and "a power cut before the flush: found out" in done.stdout
    assert done.stdout.count("nothing lost") == 10, done.stdout


@pytest.mark.parametrize("name", ["attack.py", "durability.py", "isolation.py"])
def test_what_is_wrong_is_said(script, name):
    words = ["--against", "true"] if name == "isolation.py" else ["--only", "no such thing"]
    done = script(name, *words)
    assert done.returncode != 0 and done.stderr.strip()
