import pytest

from secagg.demo import DemoConfig
from secagg.demo.models import one_torch_thread
from secagg.demo.runner import run


@pytest.fixture(scope="session", autouse=True)
def one_thread():
    """As the demo does it: on a busy machine, two threads spend their time waiting for each other."""
    with one_torch_thread():
        yield


@pytest.fixture(scope="session")
def result():
    """Three rounds on real data through the real protocol: enough to meet every kind of drop-out but one."""
    return run(DemoConfig(rounds=3, seed=5))
