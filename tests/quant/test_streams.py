import numpy as np
import pytest

from quant.errors import InputError
from quant.streams import SYSTEM_STREAM, SystemStream
from tests.quant.conftest import InsecureSeededStream


def test_every_byte_is_overwritten():
    out = np.zeros(1 << 16, np.uint8)
    SystemStream().fill(out)
    assert len(np.unique(out)) == 256
    assert np.unpackbits(out).mean() == pytest.approx(0.5, abs=0.01)  # 14 standard deviations


def test_two_fills_differ():
    first, second = np.zeros(32, np.uint8), np.zeros(32, np.uint8)
    SYSTEM_STREAM.fill(first)
    SYSTEM_STREAM.fill(second)
    assert not np.array_equal(first, second)


def test_filling_nothing_is_fine():
    SYSTEM_STREAM.fill(np.empty(0, np.uint8))


def read_only():
    out = np.zeros(8, np.uint8)
    out.flags.writeable = False
    return out


@pytest.mark.parametrize("out", [np.zeros(8, np.int8), np.zeros(16, np.uint8)[::2], read_only()])
def test_wrong_buffers_are_refused(out):
    with pytest.raises(InputError, match="contiguous, writable array of dtype uint8"):
        SYSTEM_STREAM.fill(out)


def test_nothing_to_show():
    assert repr(SYSTEM_STREAM) == "SystemStream()"


@pytest.mark.parametrize("pieces", [(1,) * 21, (3, 5, 13), (4, 8, 9), (0, 21, 0), (20, 1)])
def test_the_stream_of_the_tests_gives_the_same_in_pieces(pieces):
    """As every stream must; whoever draws piece by piece is tested with it."""
    whole = np.empty(21, np.uint8)
    InsecureSeededStream(5).fill(whole)
    stream, drawn = InsecureSeededStream(5), []
    for size in pieces:
        drawn.append(np.empty(size, np.uint8))
        stream.fill(drawn[-1])
    assert np.concatenate(drawn).tolist() == whole.tolist()
    assert stream.taken == 21
