"""Measures the error of a mean over n sites, as the table of issue 4 does; see `secagg bench quant`."""

import numpy as np

from quant import from_config
from quant.references import eden
from tests.quant.conftest import InsecurePublic, InsecureSeededStream

DIM, CLIENTS, REPEATS = 4096, 10, 60


def lognormal(rng):
    return rng.lognormal(size=(CLIENTS, DIM))


def identical(rng):
    return np.repeat(rng.lognormal(size=(1, DIM)), CLIENTS, axis=0)


KINDS = {"lognormal": lognormal, "identical": identical}


def sample(kind):
    """What the planner sees: another draw than the ones that are measured."""
    return list(KINDS[kind](np.random.default_rng(987_654)))


def nmse(config, kind, repeats=REPEATS):
    """(mean NMSE, its standard error, share of saturated coordinates, wrapped sums) of a summable codec."""
    codec, errors, saturated, wrapped = from_config(config, DIM), [], 0, 0
    lanes = codec.facts.lanes(CLIENTS)
    rng = np.random.default_rng(1)
    for repeat in range(repeats):
        updates, public = KINDS[kind](rng), InsecurePublic(f"{kind} {repeat}")
        packed = np.zeros(lanes.lanes, np.uint64)
        total = np.zeros(codec.facts.encoded_dim, np.int64)
        for client, x in enumerate(updates):
            q = codec.encode(x, InsecureSeededStream(f"{repeat}/{client}"), public=public, client=client)
            packed += lanes.pack(q)
            total += q
            saturated += codec.saturated(x, public=public)
        opened = lanes.unpack(packed)
        wrapped += int(np.count_nonzero(opened != total))
        clients = range(CLIENTS) if codec.public_labels else ()
        mean = codec.decode(opened, CLIENTS, public=public, clients=clients) / CLIENTS
        errors.append(relative(mean, updates))
    share = saturated / (repeats * CLIENTS * DIM)
    return float(np.mean(errors)), float(np.std(errors) / np.sqrt(repeats)), share, wrapped


def eden_nmse(bits, kind, repeats=REPEATS):
    """The same of EDEN, with a rotation per client; it cannot be summed."""
    rng, errors = np.random.default_rng(1), []
    for repeat in range(repeats):
        updates = KINDS[kind](rng)
        mean = np.mean([eden(x, bits, InsecurePublic(f"{repeat}/{c}")) for c, x in enumerate(updates)], axis=0)
        errors.append(relative(mean, updates))
    return float(np.mean(errors))


def relative(mean, updates):
    return float(np.sum((mean - updates.mean(axis=0)) ** 2) / np.mean(np.sum(updates**2, axis=1)))
