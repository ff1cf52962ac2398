"""What all tests share: the data for comparisons, a cache of their own, and default signals."""

import os
import signal
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
sys.path[:0] = [str(ROOT / "examples"), str(ROOT / "tests")]

# The environments in which our worlds run inside other tools have no Hypothesis.
if find_spec("hypothesis") is not None:
    from hypothesis import settings

    # Hypothesis fails an example that takes longer than 200 ms, as any may on a machine that has other work.
    settings.register_profile("no clock", deadline=None)
    settings.load_profile("no clock")


def pytest_configure() -> None:
    """Handle signals as a command at a terminal does, so that what tests start inherits nothing else.

    A shell lets the jobs in its background (``make test &``) ignore SIGINT and SIGQUIT. A child inherits what is ignored,
    and a Python child that ignores SIGINT never raises KeyboardInterrupt: tests that press Ctrl-C would wait for ever.
    """
    defaults = {
        signal.SIGINT: signal.default_int_handler,
        signal.SIGQUIT: signal.SIG_DFL,
        signal.SIGTERM: signal.SIG_DFL,
    }
    for number, handler in defaults.items():
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, handler)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, defaults)


@pytest.fixture(scope="session")
def test_data() -> Path:
    """The folder with transcripts and official data; tests that need it skip where it is not.

    With STEP_ENVS_REQUIRE_TEST_DATA set, as in CI, they fail instead.
    """
    folder = Path(os.environ.get("STEP_ENVS_TEST_DATA", ROOT.parent / "shared" / "data"))
    if not folder.is_dir():
        missing = f"no comparison data at {folder}: set STEP_ENVS_TEST_DATA"
        if os.environ.get("STEP_ENVS_REQUIRE_TEST_DATA"):
            pytest.fail(missing)
        pytest.skip(missing)
    return folder


@pytest.fixture(autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep what tests cache out of the user's folder; one folder for the whole run."""
    base = tmp_path_factory.getbasetemp().parent / "step-envs-cache"
    monkeypatch.setenv("STEP_ENVS_CACHE", os.environ.get("STEP_ENVS_CACHE", str(base)))
