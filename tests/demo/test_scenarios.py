from collections import Counter

import pytest

from secagg.demo import DemoConfig
from secagg.demo.scenarios import SCENARIOS, kinds
from secagg.errors import UsageError

pytestmark = pytest.mark.fast


@pytest.mark.parametrize("name", SCENARIOS)
@pytest.mark.parametrize("sites", [10, 13, 30])
def test_every_site_is_of_one_kind_and_shares_are_kept(name, sites):
    counts = Counter(device.name for device in kinds(name, sites).values())
    assert sum(counts.values()) == sites
    for device in SCENARIOS[name]:
        assert abs(counts[device.name] - device.share * sites) < 1
        assert counts[device.name] >= 3


def test_scenarios_need_enough_sites_for_every_precision():
    with pytest.raises(UsageError, match="only 2 would be of the kind 'hub'"):
        DemoConfig(scenario="smart-home", sites=5)
    with pytest.raises(UsageError, match="hospitals, smart-home, vehicles"):
        DemoConfig(scenario="factory")
    with pytest.raises(UsageError, match="cannot dither"):
        DemoConfig(scenario="vehicles", scheme="rotation-dither")
    with pytest.raises(UsageError, match="more bits"):
        DemoConfig(scenario="smart-home", bits=4)


def test_links_fail_by_kind_within_what_a_round_survives_and_by_the_seed():
    config = DemoConfig(scenario="vehicles", sites=30, seed=3)
    failed = Counter(site for index in range(200) for site in config.dropouts(index))
    assert max(len(config.dropouts(index)) for index in range(200)) <= 30 - config.threshold
    parked = sum(failed[site] for site in range(1, 16))
    moving = sum(failed[site] for site in range(16, 31))
    assert 1.8 < moving / parked < 4.5  # 0.3 to 0.1
    assert 0.06 < parked / (15 * 200) < 0.14
    assert config.dropouts(5) == DemoConfig(scenario="vehicles", sites=30, seed=3).dropouts(5)
    assert [config.dropouts(i) for i in range(9)] != [
        DemoConfig(scenario="vehicles", sites=30).dropouts(i) for i in range(9)
    ]


def test_a_dropout_that_was_given_overrides_the_losses():
    assert all(len(DemoConfig(scenario="vehicles", dropout=1).dropouts(index)) == 1 for index in range(20))


def test_half_of_the_hospitals_may_be_coarser():
    config = DemoConfig(coarser=3)
    assert [device.shift for device in config.devices.values()] == [0] * 5 + [3] * 5
    assert (config.quantization(0, config.planner(9), 9)["levels"] - 1) % 8 == 0
    for choice in ({"coarser": 3, "sites": 5}, {"coarser": 2, "scenario": "vehicles"}, {"coarser": 12}):
        with pytest.raises(UsageError):
            DemoConfig(**choice)
