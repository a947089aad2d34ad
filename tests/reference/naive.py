"""A second implementation of the pairwise protocol, to be compared with the first: slow, short, and it checks nothing.

Plain Python integers throughout; nothing is shared with the packages. Libraries give the ciphers, the curves and
MessagePack. Both roles are here: ``Client`` turns the server's frames into a client's, ``Server`` the reverse, and
``Server.result`` opens the sum. Parameters are a vector's ``params`` (tests/vectors/README.md). It follows Bonawitz et
al. 2017, figure 4, and Bell et al. 2020, section 3, with the derivations that the docstrings of ``protocols`` give.
"""

import hashlib
import struct
from math import prod

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from msgspec.msgpack import decode, encode

PRIME = 2**264 - 275
FRAME_ELEMENTS, BLOCK = 2**16, 8192
(ADVERTISE, SHARE_REQUEST, SHARES, INPUT_REQUEST, INPUT, CONSISTENCY_REQUEST, CONSISTENCY, UNMASKING_REQUEST,
 UNMASKING, REVEAL_REQUEST, REVEAL, NEIGHBOURS) = range(1, 13)  # fmt: skip


class Round:
    """What everybody knows, and every derivation."""

    def __init__(self, params):
        self.threshold, self.suite, self.active = params["threshold"], params["suite"], params["adversary"] == "active"
        self.vectors = [(v["name"], v["length"], int(v["modulus"])) for v in params["vectors"]]
        self.degree = params["degree"] if params["protocol"] == "secagg+" else 0
        self.sparse = 0 < self.degree < len(params["clients"]) - 1
        self.commits = self.sparse or params["joint_randomness"]
        order = ("study", "round_index", "clients", "threshold", "vectors", "task", "attempt", "roster", "adversary",
                 "protocol", "degree", "min_survivors", "joint_randomness", "noise_components", "suite")  # fmt: skip
        self.clients, self.components = params["clients"], params["noise_components"]
        fields = {**params, **{name: bytes.fromhex(params[name]) for name in ("task", "roster")}}
        fields["vectors"] = [(name, length, str(modulus)) for name, length, modulus in self.vectors]
        self.hash_of_params = self.hash("round-params", encode({name: fields[name] for name in order}))

    def bound(self, usage, context):
        return encode(("secagg-v1", self.suite, usage, context))

    def hash(self, usage, *context):
        return hashlib.sha256(self.bound(usage, context)).digest()

    def derive(self, secret, usage, *context):
        return HKDF(SHA256(), 32, salt=None, info=self.bound(usage, context)).derive(secret)

    def sign(self, identity, usage, *context):
        return identity.sign(self.bound("sign " + usage, context)) if self.active else b""

    def joint_seed(self, session, parts):
        return self.hash("joint-seed", session, parts)

    def holders(self, client, members, seed):  # who holds shares of a client, itself included: the graph
        if not self.sparse or self.degree >= len(members) - 1:
            return list(members)
        stream = words(self.hash("graph", seed), 0, 2 * len(members))
        keys = {c: stream[2 * i] + (stream[2 * i + 1] << 64) for i, c in enumerate(members)}
        ring = sorted(members, key=lambda c: keys[c])
        place, reach = ring.index(client), self.degree // 2
        return sorted({ring[(place + step) % len(ring)] for step in range(-reach, reach + 1)})

    def pair_seed(self, secret, session, client, other, public):
        return self.derive(agree(secret, public), "pairwise-seed", session, sorted((client, other)))

    def noise(self, link, session, client, first):  # links first .. K + 1 of a client's noise, seeds first .. K
        links, seeds = [link], []
        for number in range(first, self.components + 1):
            seeds.append(self.derive(links[-1], "noise-component", session, client, number))
            links.append(self.derive(links[-1], "noise-link", session, client, number))
        return links, seeds

    def first_removed(self, survivors):
        return len(self.clients) - len(survivors) + 1

    def tree(self, session, dealer, holder, shares):  # the levels of the hash tree, leaves first
        levels = [[self.hash("noise-share", session, dealer, holder, 1 + i, s) for i, s in enumerate(shares)]]
        while len(levels[-1]) > 1:
            pairs = [levels[-1][i : i + 2] for i in range(0, len(levels[-1]), 2)]
            levels.append([self.hash("noise-shares", *pair) if len(pair) == 2 else pair[0] for pair in pairs])
        return levels

    def pieces(self):  # every frame of an input: (number of the vector, first element, element after the last, vector)
        starts = [(n, low, v) for n, v in enumerate(self.vectors) for low in range(0, v[1], FRAME_ELEMENTS)]
        return [(n, low, min(low + FRAME_ELEMENTS, v[1]), v) for n, low, v in starts]

    def add(self, values, masks, session, model, vector, low, high):  # masks are (seed, usage, clients, sign)
        name, length, modulus = vector
        blocks = [(at // BLOCK, min(BLOCK, high - at)) for at in range(low, high, BLOCK)]
        for seed, usage, clients, sign in masks:
            key = self.derive(seed, usage, session, model, (name, length, str(modulus)), clients)
            if modulus & (modulus - 1) == 0:
                mask = words(key, 8 * low, high - low)
            else:
                mask = [x for block, count in blocks for x in residues(key, block, count, modulus)]
            values = [(a + sign * b) % modulus for a, b in zip(values, mask, strict=True)]
        return values


def words(key, offset, count):
    """Little-endian 64-bit words of the key stream, from byte ``offset`` on."""
    counter = (offset // 16).to_bytes(16, "big")
    stream = Cipher(algorithms.AES(key), modes.CTR(counter)).encryptor().update(bytes(8 * count))
    return struct.unpack(f"<{count}Q", stream)


def residues(key, block, count, modulus):
    """The first ``count`` words of a block of key stream that, cut to the bits of the modulus, are below it."""
    low_bits, drawn = (1 << (modulus - 1).bit_length()) - 1, count
    while True:
        found = [word & low_bits for word in words(key, block << 68, drawn) if word & low_bits < modulus]
        if len(found) >= count:
            return found[:count]
        drawn *= 2


def agree(secret, public):
    return X25519PrivateKey.from_private_bytes(secret).exchange(X25519PublicKey.from_public_bytes(public))


def pack(values, bits):
    """Little-endian, no gaps: eight elements take as many bytes as one has bits."""
    eights = [values[i : i + 8] for i in range(0, len(values), 8)]
    numbers = (sum((value % 2**bits) << (bits * i) for i, value in enumerate(eight)) for eight in eights)
    return b"".join(number.to_bytes(bits, "little") for number in numbers)[: (len(values) * bits + 7) // 8]


def unpack(data, length, bits):
    eights = (int.from_bytes(data[i : i + bits], "little") for i in range(0, len(data), bits))
    return [eight >> (bits * i) & (2**bits - 1) for eight in eights for i in range(8)][:length]


def reconstruct(shares):
    """Lagrange interpolation at zero."""
    weights = {x: prod(other * pow(other - x, -1, PRIME) for other in shares if other != x) for x in shares}
    return (sum(weights[x] * y for x, y in shares.items()) % PRIME).to_bytes(32, "little")


class Client:
    """One client; ``take(n, label)`` gives its randomness in the order of the draws, ``identity`` is a secret key."""

    def __init__(self, params, client, take, identity=None):
        self.round, self.me, self.take, self.joint_seed = Round(params), client, take, b""
        self.identity = Ed25519PrivateKey.from_private_bytes(identity) if identity else None
        self.session = self.round.hash_of_params  # until there is one

    def frame(self, kind, *body):
        return encode((1, kind, self.session, body))

    def start(self):
        r = self.round
        self.enc_secret, self.mask_secret = self.take(32, "enc-key"), self.take(32, "mask-key")
        self.part = self.take(32, "joint-randomness") if r.commits else b""
        commitment = r.hash("joint-commitment", r.hash_of_params, self.me, self.part) if r.commits else b""
        pair = map(X25519PrivateKey.from_private_bytes, (self.enc_secret, self.mask_secret))
        keys = (*(key.public_key().public_bytes_raw() for key in pair), commitment)
        signature = r.sign(self.identity, "advertise-keys", r.hash_of_params, self.me, *keys)
        return [self.frame(ADVERTISE, *keys, signature)]

    def receive(self, frame):
        _, kind, _, body = decode(frame)
        steps = {SHARE_REQUEST: self.agree_on_keys, REVEAL_REQUEST: self.agree_on_keys, UNMASKING_REQUEST: self.unmask}
        steps |= {NEIGHBOURS: self.find_neighbours, INPUT_REQUEST: self.open_shares, CONSISTENCY_REQUEST: self.consent}
        return steps[kind](*body) if kind in steps else []

    def agree_on_keys(self, directory):
        self.directory = {entry[0]: entry for entry in directory}
        self.session = self.round.hash("session", self.round.hash_of_params, directory)
        return [self.frame(REVEAL, self.part)] if self.round.sparse else self.deal(b"", self.part)

    def find_neighbours(self, parts):
        self.joint_seed = self.round.joint_seed(self.session, parts)
        return self.deal(self.joint_seed, b"")

    def deal(self, seed, part):
        r, s, me = self.round, self.session, self.me
        self.self_seed = self.take(32, "self-mask-seed")
        link, polynomials = self.take(32, "noise-link") if r.components else b"", []
        *links, end = r.noise(link, s, me, 1)[0]
        self.noise_seeds = r.noise(link, s, me, 1)[1]
        for secret in (self.self_seed, self.mask_secret, *links):
            polynomials.append([int.from_bytes(secret, "little")])
            while len(polynomials[-1]) < r.threshold:
                draw = int.from_bytes(self.take(33, "shamir-coefficient"), "little")
                polynomials[-1] += [draw] if draw < PRIME else []
        seed_hash, dealt, kinds = r.hash("self-mask-seed", s, me, self.self_seed), [], ("self-mask", "mask-key")
        for holder in r.holders(me, list(self.directory), seed):
            values = [sum(a * holder**i for i, a in enumerate(p)) % PRIME for p in polynomials]
            shares = [value.to_bytes(33, "little") for value in values]
            sealed = b""
            if holder == me:
                self.held = {me: shares}
            else:
                (cipher, associated), nonce = self.channel(me, holder), self.take(12, "aead-nonce")
                plain = encode((me, holder, *shares[:2], b"".join(shares[2:])))
                sealed = nonce + cipher.encrypt(nonce, plain, associated)
            hashes = [r.hash("share", s, kind, me, holder, shares[i]) for i, kind in enumerate(kinds)]
            hashes.append(r.tree(s, me, holder, shares[2:])[-1][0] if links else b"")
            signature = r.sign(self.identity, "share-keys", s, me, holder, seed_hash, end, *hashes, b"", sealed)
            dealt.append((holder, b"", sealed, *hashes, signature))  # no offers in this suite
        return [self.frame(SHARES, part, seed_hash, end, dealt)]

    def channel(self, dealer, holder):
        r, other = self.round, holder if dealer == self.me else dealer
        secret = agree(self.enc_secret, self.directory[other][1])
        key = r.derive(secret, "share-channel", self.session, dealer, holder)
        return AESGCM(key), r.bound("sign share", (self.session, dealer, holder))

    def open_shares(self, shared, relayed, parts, model):
        self.peers = [entry[0] for entry in relayed]
        if parts:
            self.joint_seed = self.round.joint_seed(self.session, parts)
        for dealer, _, _, _, sealed, *_ in relayed:
            cipher, associated = self.channel(dealer, self.me)
            *both, noise = decode(cipher.decrypt(sealed[:12], sealed[12:], associated))[2:]
            self.held[dealer] = [*both, *(noise[i : i + 33] for i in range(0, len(noise), 33))]
        return []

    def submit(self, inputs, model):
        self.model, r, me, frames = model, self.round, self.me, []
        seeds = [(self.self_seed, "self-mask", (me,), 1)]
        for peer in self.peers:
            seed = r.pair_seed(self.mask_secret, self.session, me, peer, self.directory[peer][2])
            seeds.append((seed, "pairwise-mask", sorted((me, peer)), 1 if me < peer else -1))
        for number, low, high, vector in r.pieces():
            masked = r.add(inputs[vector[0]][low:high], seeds, self.session, model, vector, low, high)
            payload = pack(masked, (vector[2] - 1).bit_length())
            statement = (self.session, model, number, low, hashlib.sha256(payload).digest())
            frames.append(self.frame(INPUT, number, low, payload, r.sign(self.identity, "masked-input", *statement)))
        return frames

    def consent(self, survivors):
        return [
            self.frame(CONSISTENCY, self.round.sign(self.identity, "survivors", self.session, self.model, survivors))
        ]

    def unmask(self, survivors, dropped, signatures):
        both = [[(d, self.held[d][i]) for d in ids if d in self.held] for i, ids in enumerate((survivors, dropped))]
        number, noise = self.round.first_removed(survivors), []
        for d in [d for d in survivors if d in self.held and number <= self.round.components]:
            place, path = number - 1, b""
            for level in self.round.tree(self.session, d, self.me, self.held[d][2:]):
                path += level[place ^ 1] if place ^ 1 < len(level) else b""
                place //= 2
            noise.append((d, self.held[d][1 + number], path))
        return [self.frame(UNMASKING, *both, noise)]


class Server:
    """The server; ``advance`` ends a phase and gives the frames of the next, as (client, frame)."""

    def __init__(self, params, model):
        self.round, self.model, self.said, self.joint_seed = Round(params), model, {}, b""
        sparse, active = [self.neighbours] * self.round.sparse, [self.survived] * self.round.active
        self.phases = [self.publish, *sparse, self.relay, *active, self.ask]

    def receive(self, client, frame):
        _, kind, _, body = decode(frame)
        self.said.setdefault((kind, *body[:2]) if kind == INPUT else kind, {})[client] = body

    def heard(self, kind):
        return dict(sorted(self.said.get(kind, {}).items()))

    def advance(self):
        return self.phases.pop(0)() if self.phases else []

    def send(self, clients, kind, body_of, context=None):
        return [(client, encode((1, kind, context or self.session, body_of(client)))) for client in clients]

    def publish(self):
        self.members, self.directory = list(self.heard(ADVERTISE)), [(c, *k) for c, k in self.heard(ADVERTISE).items()]
        self.session = self.round.hash("session", self.round.hash_of_params, self.directory)
        kind = REVEAL_REQUEST if self.round.sparse else SHARE_REQUEST
        return self.send(self.members, kind, lambda _: (self.directory,), self.round.hash_of_params)

    def neighbours(self):
        parts = [(client, part) for client, (part,) in self.heard(REVEAL).items()]
        self.joint_seed = self.round.joint_seed(self.session, parts)
        return self.send(self.members, NEIGHBOURS, lambda _: (parts,))

    def relay(self):
        shares = self.heard(SHARES)
        parts = [(dealer, part) for dealer, (part, *_) in shares.items() if part]
        self.joint_seed = self.round.joint_seed(self.session, parts) if parts else self.joint_seed

        def body(holder):
            dealings = [(dealer, seed_hash, end, e) for dealer, (_, seed_hash, end, d) in shares.items() for e in d]
            relayed = [(dealer, *both, *e[1:]) for dealer, *both, e in dealings if e[0] == holder != dealer]
            return list(shares), relayed, parts, self.model

        return self.send(list(shares), INPUT_REQUEST, body)

    def complete(self):
        return sorted(set.intersection(*(set(self.heard((INPUT, n, low))) for n, low, _, _ in self.round.pieces())))

    def survived(self):
        return self.send(self.complete(), CONSISTENCY_REQUEST, lambda _: (self.complete(),))

    def ask(self):
        self.survivors, signed = self.complete(), self.heard(CONSISTENCY)
        self.dropped = [client for client in self.heard(SHARES) if client not in self.survivors]

        def body(client):
            near = self.round.holders(client, self.members, self.joint_seed)
            sent = [(c, signature) for c, (signature,) in signed.items() if c in near or self.round.components]
            return self.survivors, self.dropped, sent

        return self.send(list(signed) or self.survivors, UNMASKING_REQUEST, body)

    def shares(self):  # by dealer and holder: of self-mask seeds, mask keys, links of noise
        shares = [{}, {}, {}]
        for holder, answer in self.heard(UNMASKING).items():
            for found, revealed in zip(shares, answer, strict=True):
                for dealer, share, *_ in revealed:
                    found.setdefault(dealer, {})[holder] = int.from_bytes(share, "little")
        return shares

    def noise_seeds(self):  # by survivor, the seeds that come off
        r, links = self.round, self.shares()[2]
        first = r.first_removed(self.survivors)
        seeds = {c: r.noise(reconstruct(links[c]), self.session, c, first)[1] for c in links}
        return {c: seeds.get(c, []) for c in self.survivors}

    def result(self):  # the survivors, and the sums by vector name
        r, s, keys, shares = self.round, self.session, {entry[0]: entry for entry in self.directory}, self.shares()
        masks = [(reconstruct(shares[0][c]), "self-mask", (c,), -1) for c in self.survivors]
        for gone in self.dropped:
            for peer in set(r.holders(gone, self.members, self.joint_seed)) & set(self.survivors):
                seed = r.pair_seed(reconstruct(shares[1][gone]), s, gone, peer, keys[peer][2])
                masks.append((seed, "pairwise-mask", sorted((gone, peer)), 1 if peer > gone else -1))
        sums = {name: [] for name, _, _ in r.vectors}
        for number, low, high, vector in r.pieces():
            inputs, bits = self.heard((INPUT, number, low)), (vector[2] - 1).bit_length()
            found = zip(*(unpack(inputs[c][2], high - low, bits) for c in self.survivors), strict=True)
            total = [sum(column) for column in found]
            sums[vector[0]] += r.add(total, masks, s, self.model, vector, low, high)
        return self.survivors, sums
