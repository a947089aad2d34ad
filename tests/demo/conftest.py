import pytest

from secagg.demo import DemoConfig
from secagg.demo.runner import run


@pytest.fixture(scope="session")
def result():
    """Three rounds on real data through the real protocol: enough to meet every kind of drop-out but one."""
    return run(DemoConfig(rounds=3, seed=5))
