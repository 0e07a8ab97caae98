"""The harness: options, the private network, and what a skip is worth."""

import contextlib
import pathlib

import pytest
from hypothesis import HealthCheck, settings

import net
import programs
from dialogue import Initiator

PROJECT = pathlib.Path(__file__).resolve().parent.parent
EXIT_SKIPPED = 77

# The same examples on every run: a test that fails one time in ten is found by no one.
settings.register_profile(
    "project",
    database=None,
    deadline=None,
    derandomize=True,
    suppress_health_check=list(HealthCheck),
)
settings.load_profile("project")

_no_network = None  # why there is no namespace, if so


def pytest_addoption(parser):
    group = parser.getgroup("aoe")
    group.addoption("--build", default=str(PROJECT / "build"), help="build folder with bin/ (default: build)")
    group.addoption("--cache", default=str(PROJECT / "build" / "guest"), help="where the guest's kernel is kept (default: build/guest)")
    group.addoption(
        "--allow-skips", action="store_true", help="exit 0 although tests were skipped (a skip is not a pass)"
    )


def pytest_configure(config):
    global _no_network
    if config.option.collectonly or config.option.help:
        return
    try:
        net.enter_namespace()
        if not config.option.basetemp:
            visible = [PROJECT, config.option.build, config.option.cache, pathlib.Path.cwd(), *config.args]
            config.option.basetemp = net.private_tmpfs(visible) + "/pytest"
    except OSError as error:
        _no_network = f"no network namespace of its own: {error}"


def pytest_collection_modifyitems(items):
    for item in items:
        if _no_network and "namespace" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.skip(reason=_no_network))


def pytest_sessionfinish(session, exitstatus):
    skipped = _skipped(session.config)
    if skipped and exitstatus == 0 and not session.config.option.allow_skips:
        session.exitstatus = EXIT_SKIPPED


def pytest_terminal_summary(terminalreporter, config):
    skipped = _skipped(config)
    if not skipped:
        return
    terminalreporter.section("left out")
    for report in skipped:
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
        terminalreporter.line(f"{report.nodeid}: {reason}")
    verdict = "allowed" if config.option.allow_skips else f"not a pass: exit code {EXIT_SKIPPED}"
    terminalreporter.line(f"{len(skipped)} tests were left out: {verdict}")


def _skipped(config):
    reporter = config.pluginmanager.get_plugin("terminalreporter")
    return reporter.stats.get("skipped", []) if reporter else []


def _program(config, name):
    path = pathlib.Path(config.option.build).resolve() / "bin" / name
    if not path.exists():
        pytest.skip(f"not built: {name} in {path.parent} (cmake --build, or --build DIR)")
    return path


@pytest.fixture(scope="session")
def project():
    return PROJECT


@pytest.fixture(scope="session")
def build(pytestconfig):
    return pathlib.Path(pytestconfig.option.build).resolve()


@pytest.fixture(scope="session")
def aoe_target(pytestconfig):
    return _program(pytestconfig, "aoe-target")


@pytest.fixture(scope="session")
def aoe_conformance(pytestconfig):
    return _program(pytestconfig, "aoe-conformance")


@pytest.fixture(scope="session")
def guest_cache(pytestconfig):
    return pathlib.Path(pytestconfig.option.cache).resolve()


@pytest.fixture(autouse=True)
def state_folder(tmp_path, monkeypatch):
    """Programs keep their state, undo files above all, in a folder of the test's own."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state-home"))
    return tmp_path / "state-home"


@pytest.fixture
def mtu(request):
    """1500, unless a test is parametrised with another."""
    return getattr(request, "param", 1500)


@pytest.fixture
def namespace():
    """What needs the private network asks for this, and is left out where there is none."""


@pytest.fixture
def link(mtu, namespace):
    """A veth pair of this test's own."""
    made = net.Link(mtu)
    yield made
    made.close()


IMAGE_SECTORS = 2048


@pytest.fixture
def image(tmp_path):
    """1 MiB in which every sector tells its own number."""
    path = tmp_path / "disk.img"
    path.write_bytes(b"".join(sector_of(lba) for lba in range(IMAGE_SECTORS)))
    return path


def sector_of(lba):
    return (b"sector %08d " % lba) * 32


class Started:
    """Starts aoe-target on the test's own link, and looks at its end whether each one still lived."""

    def __init__(self, binary, link, image, stack):
        self.binary, self.link, self.image, self._stack = binary, link, image, stack
        self.targets = []

    def __call__(self, *options, image=None, shelf=1, slot=1, interfaces=(), **more):
        words = []
        for interface in interfaces or [self.link.target_end]:
            words += ["--interface", interface]
        words += ["--shelf", shelf, "--slot", slot, *options, image or self.image]
        return self.run(*words, **more)

    def run(self, *arguments, **more):
        target = self._stack.enter_context(programs.AoeTarget(self.binary, *arguments, **more))
        self.targets.append(target)
        return target

    def initiator(self, mac=None, shelf=1, slot=1, link=None):
        link = link or self.link
        return Initiator(link.host(mac), link.target_mac, shelf, slot, link)


@pytest.fixture
def start(aoe_target, link, image):
    """start(*options) -> a running aoe-target; start.initiator() -> a host that talks to it."""
    with contextlib.ExitStack() as stack:
        started = Started(aoe_target, link, image, stack)
        yield started
        for target in started.targets:
            # A target that the test did not end itself must have lived through it, and end well.
            if target.process.returncode is None:
                assert target.alive, f"died during the test: {target.said()}"
                assert target.end() == 0, target.said()


@pytest.fixture
def initiator(start):
    """A host that talks to a plain aoe-target with this test's image."""
    start()
    return start.initiator()


@pytest.fixture
def shared_initiator(initiator):
    """For hypothesis: one target for all examples; each example brings it into a known state itself."""
    return initiator
