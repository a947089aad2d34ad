import numpy as np
import pytest

from quant import from_config
from quant.errors import ConfigurationError, InputError
from quant.feedback import ErrorFeedback
from tests.quant.conftest import InsecurePublic, InsecureSeededStream

CONFIGS = [
    {"levels": 5, "range": 1.0, "rounding": "nearest"},
    {"levels": 3, "range": 1.0, "clip": 0.5},
    {"bits": 8, "range": 2.0, "random_k": 5, "amplify": False},
    {"bits": 2, "range": 1.0, "rotation": True, "rounding": "dither"},
    {"bits": 8, "range": 2.0, "keep": [[0, 10]]},
]


@pytest.mark.parametrize("config", CONFIGS)
def test_what_was_sent_and_what_is_left_make_up_the_updates(config):
    codec = from_config(config, 20)
    feedback = ErrorFeedback.start(codec, "site")
    rng, sent, updates = np.random.default_rng(0), np.zeros(20), np.zeros(20)
    for round_number in range(30):
        update = rng.normal(size=20) / 10
        public = InsecurePublic(round_number)
        q, feedback = feedback.step(update, InsecureSeededStream(round_number), public=public, client=4)
        sent += codec.decode(q, 1, public=public, clients=[4])
        updates += update
    assert np.allclose(sent + feedback.residual, updates, atol=1e-12)


def test_feedback_makes_nearest_rounding_converge():
    codec = from_config({"levels": 5, "range": 1.0, "rounding": "nearest"}, 8)
    update, rounds = np.full(8, 0.07), 200  # always rounded to zero without feedback
    feedback, sent = ErrorFeedback.start(codec), np.zeros(8)
    for _ in range(rounds):
        q, feedback = feedback.step(update)
        sent += codec.decode(q, 1)
    assert not codec.decode(codec.encode(update), 1).any()
    assert np.abs(sent / rounds - 0.07).max() <= 0.25 / rounds + 1e-12


def test_the_residual_is_added_before_the_clip():
    codec = from_config({"levels": 2001, "clip": 1.0, "rounding": "nearest"}, 2)
    feedback = ErrorFeedback.start(codec).missed(np.array([3.0, 4.0]))
    corrected = feedback.correct(np.array([3.0, 4.0]))
    assert corrected.tolist() == [6.0, 8.0]
    assert np.linalg.norm(codec.decode(codec.encode(corrected), 1)) <= 1.001


@pytest.mark.parametrize("unit", ["patient", "record", "example"])
def test_patients_are_refused(unit):
    codec = from_config({}, 3)
    with pytest.raises(ConfigurationError, match=f"refused with the privacy unit '{unit}'.*later rounds"):
        ErrorFeedback.start(codec, unit)


def test_amplifying_decoders_are_refused():
    with pytest.raises(ConfigurationError, match="amplifies by 4: set amplify to false"):
        ErrorFeedback.start(from_config({"random_k": 5}, 20))


def test_bad_updates_are_refused():
    feedback = ErrorFeedback.start(from_config({}, 3))
    for bad, says in ((np.ones(4), "3 coordinates"), (np.array([1, np.nan, 1]), "NaN")):
        with pytest.raises(InputError, match=says):
            feedback.correct(bad)
    with pytest.raises(InputError, match="corrected update has shape"):
        feedback.after(np.ones(2), np.ones(3, np.int64))
