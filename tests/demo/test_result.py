import json

from secagg.demo import to_json
from secagg.demo.config import PHASES

CONTRACT = {
    *("dataset", "sites", "rounds", "accuracy", "accuracy_plain_fedavg", "bits", "uplink_bytes_per_site_round"),
    *("downlink_bytes_per_site_round", "uplink_bytes_float32", "dropouts", "epsilon", "delta", "unit", "seconds"),
}


def test_json_has_the_keys_of_the_contract_and_plain_types(result):
    figures = to_json(result)
    assert set(figures) >= CONTRACT
    assert json.loads(json.dumps(figures, allow_nan=False)) == figures


def test_json_agrees_with_the_rounds(result):
    figures = to_json(result)
    assert len(figures["per_round"]) == figures["rounds"] == 3
    assert figures["dropouts"] == sum(len(row["dropouts"]) for row in figures["per_round"]) == 6
    assert figures["accuracy"] == figures["per_round"][-1]["accuracy"]
    assert figures["exact"] is all(row["exact"] for row in figures["per_round"])
    assert figures["uplink_bytes_float32"] == 4 * figures["parameters"]
    assert (figures["epsilon"], figures["delta"], figures["unit"]) == (None, None, None)
    assert figures["seconds"] > figures["seconds_crypto"] + figures["seconds_training"] > 0


def test_no_site_ever_sent_more_than_the_headline(result):
    sent = [
        sum(outcome.uplink_of(site).values()) for outcome in result.rounds for site in range(1, result.config.sites + 1)
    ]
    assert max(sent) == result.uplink_bytes == sum(result.uplink_by_phase.values())
    assert set(result.uplink_by_phase) == set(PHASES)
