"""Published test vectors through our own wrappers: what they compute is what everybody computes.

Values are those printed in RFC 7748, RFC 8032, RFC 5869, NIST SP 800-38A and the GCM proposal of McGrew and Viega
(cited by SP 800-38D). Edge cases (low order, second encodings, malleability) are facts about the curves, of the kind
that Project Wycheproof collects; each is derived here from the curve's own numbers.
"""

from __future__ import annotations

import numpy as np
import pytest
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from protocols.primitives import aead, kdf, prg, signing
from protocols.primitives.key_agreement import AgreementError, PrivateKey
from tests.support.entropy import ScriptedEntropy

b = bytes.fromhex

# -- X25519: RFC 7748 --------------------------------------------------------------------------------------------------

FIELD = 2**255 - 19
ORDER_8 = (
    325606250916557431795983626356110631294008115727848805560023387167927233504,
    39382357235489614581723060781553021112529911719440698176882885853963445705823,
)
"""u-coordinates of the points of order 8, on the curve and on its twist."""


def u_bytes(u: int) -> bytes:
    return u.to_bytes(32, "little")


def test_rfc7748_section_5_2() -> None:
    scalar = b("a546e36bf0527c9d3b16154b82465edd62144c0ac1fc5a18506a2244ba449ac4")
    u = b("e6db6867583030db3594c1a424b15f7c726624ec26b3353b10a903a6d0ab1c4c")
    assert PrivateKey(scalar).agree(u).hex() == "c3da55379de9c6908e94ea4df28d084f32eccf03491c71f754b4075577a28552"


def test_rfc7748_section_5_2_with_the_unused_bit_set() -> None:
    """The RFC's second vector has it set: read as that key by the RFC, a second encoding of it and refused by us."""
    scalar = b("4b66e9d4d1b4673c5ad22691957d6af5c11b6421e0ea01d42ca4169e7918ba0d")
    u = b("e5210f12786811d3f4b7959d0538ae2c31dbe7106fc03c3efc4cd549c715a493")
    with pytest.raises(AgreementError, match="canonical"):
        PrivateKey(scalar).agree(u)
    cleared = u[:31] + bytes([u[31] & 0x7F])
    assert PrivateKey(scalar).agree(cleared).hex() == "95cbde9476e8907d7aade45cb4b873f88b595a68799fa152e6f8f7647aac7957"


def test_rfc7748_section_5_2_iterated() -> None:
    k = u = u_bytes(9)
    for count in range(1, 1001):
        k, u = PrivateKey(k).agree(u), k
        if count == 1:
            assert k.hex() == "422c8e7a6227d7bca1350b3e2bb7279f7897b87bb6854b783c60e80311ae3079"
    assert k.hex() == "684cf59ba83309552800ef566f2f4d3c1c3887c49360e3875f2eb94d99532c51"


def test_rfc7748_section_6_1() -> None:
    alice = PrivateKey(b("77076d0a7318a57d3c16c17251b26645df4c2f87ebc0992ab177fba51db92c2a"))
    bob = PrivateKey(b("5dab087e624a8a4b79e17f8b83800ee66f3bb1292618b6fd1c2f8b27ff88e0eb"))
    assert alice.public_key().hex() == "8520f0098930a754748b7ddcb43ef75a0dbf3a0d26381af4eba4a98eaa9b4e6a"
    assert bob.public_key().hex() == "de9edb7d7b7dc1b4d35b61c2ece435373f8343c85b78674dadfc7e146f882b4f"
    shared = b("4a5d9d5ba4ce2de1728e3bf480350f25e07e21c947d19e3376f09b3c1e161742")
    assert alice.agree(bob.public_key()) == bob.agree(alice.public_key()) == shared
    assert alice.initiated(bob.public_key()) == bob.responded(alice.public_key(), b"") == shared


@pytest.mark.parametrize("u", [0, 1, FIELD - 1, *ORDER_8], ids=["0", "1", "-1", "order-8", "order-8-twist"])
def test_low_order_points_are_refused(u: int) -> None:
    """RFC 7748, section 6.1: the shared secret would be all zero, whatever the private key."""
    for secret in (b"\x01" * 32, b("5dab087e624a8a4b79e17f8b83800ee66f3bb1292618b6fd1c2f8b27ff88e0eb")):
        with pytest.raises(AgreementError, match="low order"):
            PrivateKey(secret).agree(u_bytes(u))


@pytest.mark.parametrize("u", [0, 1, 9, 18])
def test_second_encodings_below_2_255_are_refused(u: int) -> None:
    with pytest.raises(AgreementError, match="canonical"):
        PrivateKey(b"\x01" * 32).agree(u_bytes(FIELD + u))


@pytest.mark.parametrize("u", [0, 1, 9, FIELD - 1, *ORDER_8])
def test_second_encodings_above_2_255_are_refused(u: int) -> None:
    with pytest.raises(AgreementError, match="canonical"):
        PrivateKey(b"\x01" * 32).agree(u_bytes(u + 2**255))


def test_the_order_8_points_are_what_they_are_said_to_be() -> None:
    """Doubling an x-only point: (u^2 - 1)^2 / 4u(u^2 + 486662 u + 1); twice leads to a point of order 2 or 1."""

    def double(u: int) -> int:
        below = 4 * u * (u * u + 486662 * u + 1)
        return (u * u - 1) ** 2 * pow(below, -1, FIELD) % FIELD

    for u in ORDER_8:
        assert double(u) in (1, FIELD - 1)
        assert double(double(u)) == 0


@pytest.mark.parametrize("length", [0, 31, 33])
def test_keys_of_another_length_are_refused(length: int) -> None:
    with pytest.raises(ValueError, match=r".+"):
        PrivateKey(bytes(length))
    with pytest.raises(ValueError, match=r".+"):
        PrivateKey(b"\x01" * 32).agree(b"\x09" * length)


def test_an_offer_where_there_is_none_is_refused() -> None:
    with pytest.raises(AgreementError, match="offer"):
        PrivateKey(b"\x01" * 32).responded(u_bytes(9), b"\0")


# -- Ed25519: RFC 8032 -------------------------------------------------------------------------------------------------

GROUP = 2**252 + 27742317777372353535851937790883648493

LONG_MESSAGE = b("""
    08b8b2b733424243760fe426a4b54908632110a66c2f6591eabd3345e3e4eb98fa6e264bf09efe12ee50f8f54e9f77b1e355f6c50544e23f
    b1433ddf73be84d879de7c0046dc4996d9e773f4bc9efe5738829adb26c81b37c93a1b270b20329d658675fc6ea534e0810a4432826bf58c
    941efb65d57a338bbd2e26640f89ffbc1a858efcb8550ee3a5e1998bd177e93a7363c344fe6b199ee5d02e82d522c4feba15452f80288a82
    1a579116ec6dad2b3b310da903401aa62100ab5d1a36553e06203b33890cc9b832f79ef80560ccb9a39ce767967ed628c6ad573cb116dbef
    efd75499da96bd68a8a97b928a8bbc103b6621fcde2beca1231d206be6cd9ec7aff6f6c94fcd7204ed3455c68c83f4a41da4af2b74ef5c53
    f1d8ac70bdcb7ed185ce81bd84359d44254d95629e9855a94a7c1958d1f8ada5d0532ed8a5aa3fb2d17ba70eb6248e594e1a2297acbbb39d
    502f1a8c6eb6f1ce22b3de1a1f40cc24554119a831a9aad6079cad88425de6bde1a9187ebb6092cf67bf2b13fd65f27088d78b7e883c8759
    d2c4f5c65adb7553878ad575f9fad878e80a0c9ba63bcbcc2732e69485bbc9c90bfbd62481d9089beccf80cfe2df16a2cf65bd92dd597b07
    07e0917af48bbb75fed413d238f5555a7a569d80c3414a8d0859dc65a46128bab27af87a71314f318c782b23ebfe808b82b0ce26401d2e22
    f04d83d1255dc51addd3b75a2b1ae0784504df543af8969be3ea7082ff7fc9888c144da2af58429ec96031dbcad3dad9af0dcbaaaf268cb8
    fcffead94f3c7ca495e056a9b47acdb751fb73e666c6c655ade8297297d07ad1ba5e43f1bca32301651339e22904cc8c42f58c30c04aafdb
    038dda0847dd988dcda6f3bfd15c4b4c4525004aa06eeff8ca61783aacec57fb3d1f92b0fe2fd1a85f6724517b65e614ad6808d6f6ee34df
    f7310fdc82aebfd904b01e1dc54b2927094b2db68d6f903b68401adebf5a7e08d78ff4ef5d63653a65040cf9bfd4aca7984a74d371459867
    80fc0b16ac451649de6188a7dbdf191f64b5fc5e2ab47b57f7f7276cd419c17a3ca8e1b939ae49e488acba6b965610b5480109c8b17b80e1
    b7b750dfc7598d5d5011fd2dcc5600a32ef5b52a1ecc820e308aa342721aac0943bf6686b64b2579376504ccc493d97e6aed3fb0f9cd71a4
    3dd497f01f17c0e2cb3797aa2a2f256656168e6c496afc5fb93246f6b1116398a346f1a641f3b041e989f7914f90cc2c7fff357876e506b5
    0d334ba77c225bc307ba537152f3f1610e4eafe595f6d9d90d11faa933a15ef1369546868a7f3a45a96768d40fd9d03412c091c6315cf4fd
    e7cb68606937380db2eaaa707b4c4185c32eddcdd306705e4dc1ffc872eeee475a64dfac86aba41c0618983f8741c5ef68d3a101e8a3b8ca
    c60c905c15fc910840b94c00a0b9d0
""")

RFC_8032 = {
    "test 1": (
        "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60",
        "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
        b"",
        "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e06522490155"
        "5fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b",
    ),
    "test 2": (
        "4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb",
        "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c",
        b("72"),
        "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da"
        "085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00",
    ),
    "test 3": (
        "c5aa8df43f9f837bedb7442f31dcb7b166d38535076f094b85ce3a2e0b4458f7",
        "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025",
        b("af82"),
        "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac"
        "18ff9b538d16f290ae67f760984dc6594a7c15e9716ed28dc027beceea1ec40a",
    ),
    "test 1024": (
        "f5e5767cf153319517630f226876b86c8160cc583bc013744c6bf255f5cc0ee5",
        "278117fc144c72340f67d0f2316e8386ceffbf2b2428c9c51fef7c597f1d426e",
        LONG_MESSAGE,
        "0aab4c900501b3e24d7cdf4663326a3a87df5e4843b2cbdb67cbf6e460fec350"
        "aa5371b1508f9f4528ecea23c436d94b5e8fcd4f681e30a6ac00a9704a188a03",
    ),
}


@pytest.mark.parametrize("name", RFC_8032)
def test_rfc8032_section_7_1(name: str) -> None:
    secret, public, message, signature = RFC_8032[name]
    assert signing.public_key(b(secret)) == b(public)
    assert signing.sign(b(secret), message) == b(signature)
    assert signing.verify(b(public), message, b(signature))
    assert not signing.verify(b(public), message + b"\0", b(signature))


def test_the_long_message_has_1023_bytes() -> None:
    assert len(LONG_MESSAGE) == 1023


def test_a_malleated_signature_is_refused() -> None:
    """RFC 8032, section 5.1.7: S + L satisfies the equation and is out of range; so is every multiple that fits."""
    _, public, message, signature = RFC_8032["test 3"]
    r, s = b(signature)[:32], int.from_bytes(b(signature)[32:], "little")
    for multiple in range(1, (2**256 - s) // GROUP):
        assert not signing.verify(b(public), message, r + (s + multiple * GROUP).to_bytes(32, "little"))


@pytest.mark.parametrize("length", [0, 1, 32, 63, 65, 96, 128])
def test_signatures_of_another_length_are_refused(length: int) -> None:
    _, public, message, signature = RFC_8032["test 2"]
    assert not signing.verify(b(public), message, (b(signature) * 2)[:length])
    assert not signing.verify(b(public), message, bytes(length))


def test_every_flipped_bit_is_refused() -> None:
    _, public, message, signature = RFC_8032["test 2"]
    for bit in range(512):
        changed = int.from_bytes(b(signature), "little") ^ 1 << bit
        assert not signing.verify(b(public), message, changed.to_bytes(64, "little"))


@pytest.mark.parametrize("length", [0, 31, 33, 64])
def test_verification_keys_of_another_length_verify_nothing(length: int) -> None:
    _, public, message, signature = RFC_8032["test 2"]
    assert not signing.verify((b(public) * 2)[:length], message, b(signature))


def test_a_key_off_the_curve_verifies_nothing() -> None:
    """y = 2 has no x on the curve."""
    _, _, message, signature = RFC_8032["test 2"]
    assert not signing.verify(u_bytes(2), message, b(signature))


# -- HKDF-SHA256: RFC 5869 ---------------------------------------------------------------------------------------------


def test_rfc5869_case_1() -> None:
    found = kdf.hkdf_sha256(b("0b" * 22), salt=bytes(range(13)), info=bytes(range(0xF0, 0xFA)), length=42)
    assert found.hex() == "3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf34007208d5b887185865"


def test_rfc5869_case_2() -> None:
    info = bytes(range(0xB0, 0x100))
    found = kdf.hkdf_sha256(bytes(range(0x50)), salt=bytes(range(0x60, 0xB0)), info=info, length=82)
    assert found.hex() == (
        "b11e398dc80327a1c8e7f78c596a49344f012eda2d4efad8a050cc4c19afa97c59045a99cac7827271cb41c65e590e09"
        "da3275600c2f09b8367793a9aca3db71cc30c58179ec3e87c14c01d5c1f3434f1d87"
    )


def test_rfc5869_case_3() -> None:
    found = kdf.hkdf_sha256(b("0b" * 22), info=b"", length=42)
    assert found.hex() == "8da4e775a563c18f715f802a063c5a31b8a11f5c5ee1879ec3454e5f3c738d2d9d201395faa4b61a96c8"


def test_the_empty_salt_is_a_hash_of_zeros() -> None:
    """RFC 5869, section 2.2: no salt is HashLen zeros."""
    secret = bytes(range(32))
    assert kdf.hkdf_sha256(secret, info=b"x") == kdf.hkdf_sha256(secret, info=b"x", salt=bytes(32))


def test_hkdf_gives_at_most_255_hashes() -> None:
    assert len(kdf.hkdf_sha256(b"secret", info=b"", length=255 * 32)) == 8160
    with pytest.raises(ValueError, match=r".+"):
        kdf.hkdf_sha256(b"secret", info=b"", length=8161)


# -- AES-256-GCM: McGrew and Viega, test cases 13 to 16 ----------------------------------------------------------------

GCM_KEY = b("feffe9928665731c6d6a8f9467308308" * 2)
GCM_NONCE = b("cafebabefacedbaddecaf888")
GCM_PLAIN = b(
    "d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a721c3c0c95956809532fcf0e2449a6b525"
    "b16aedf5aa0de657ba637b391aafd255"
)
GCM_CIPHER = b(
    "522dc1f099567d07f47f37a32a84427d643a8cdcbfe5c0c97598a2bd2555d1aa8cb08e48590dbb3da7b08b1056828838"
    "c5f61e6393ba7a0abcc9f662898015ad"
)
GCM_ASSOCIATED = b("feedfacedeadbeeffeedfacedeadbeefabaddad2")

GCM = {
    "case 13": (bytes(32), bytes(12), b"", b"", b"", "530f8afbc74536b9a963b4f1c4cb738b"),
    "case 14": (
        bytes(32),
        bytes(12),
        bytes(16),
        b"",
        b("cea7403d4d606b6e074ec5d3baf39d18"),
        "d0d1c8a799996bf0265b98b5d48ab919",
    ),
    "case 15": (GCM_KEY, GCM_NONCE, GCM_PLAIN, b"", GCM_CIPHER, "b094dac5d93471bdec1a502270e3cc6c"),
    "case 16": (
        GCM_KEY,
        GCM_NONCE,
        GCM_PLAIN[:60],
        GCM_ASSOCIATED,
        GCM_CIPHER[:60],
        "76fc6ece0f4e1768cddf8853bb2d551b",
    ),
}


@pytest.mark.parametrize("name", GCM)
def test_aes_256_gcm(name: str) -> None:
    key, nonce, plain, associated, cipher, tag = GCM[name]
    sealed = aead.seal(key, plain, associated, ScriptedEntropy([("aead-nonce", nonce)]))
    assert sealed == nonce + cipher + b(tag)
    assert aead.open_sealed(key, sealed, associated) == plain


@pytest.mark.parametrize("name", GCM)
def test_anything_changed_does_not_open(name: str) -> None:
    key, nonce, _, associated, cipher, tag = GCM[name]
    sealed = nonce + cipher + b(tag)
    changed = [sealed[:place] + bytes([sealed[place] ^ 0x80]) + sealed[place + 1 :] for place in range(len(sealed))]
    for other in (*changed, *(sealed[:length] for length in range(len(sealed))), sealed + b"\0"):
        with pytest.raises(aead.OpenError):
            aead.open_sealed(key, other, associated)
    with pytest.raises(aead.OpenError):
        aead.open_sealed(key, sealed, associated + b"\0")
    with pytest.raises(aead.OpenError):
        aead.open_sealed(key[:31] + bytes([key[31] ^ 1]), sealed, associated)


# -- AES-256-CTR: NIST SP 800-38A, F.5.5 -------------------------------------------------------------------------------

CTR_KEY = b("603deb1015ca71be2b73aef0857d77811f352c073b6108d72d9810a30914dff4")
CTR_COUNTER = int("f0f1f2f3f4f5f6f7f8f9fafbfcfdfeff", 16)
CTR_PLAIN = b(
    "6bc1bee22e409f96e93d7e117393172aae2d8a571e03ac9c9eb76fac45af8e51"
    "30c81c46a35ce411e5fbc1191a0a52eff69f2445df4f9b17ad2b417be66c3710"
)
CTR_CIPHER = b(
    "601ec313775789a5b7a7f504bbf3d228f443e3ca4d62b59aca84e990cacaf5c5"
    "2b0930daa23de94ce87017ba2d84988ddfc9c58db67aada613c2dd08457941a6"
)


def test_sp800_38a_f_5_5() -> None:
    """The initial counter block is a place in our stream: block number F0F1...FF."""
    assert prg.encryptor(CTR_KEY, 16 * CTR_COUNTER).update(CTR_PLAIN) == CTR_CIPHER
    for block in range(4):
        found = prg.encryptor(CTR_KEY, 16 * (CTR_COUNTER + block)).update(CTR_PLAIN[16 * block :])
        assert found == CTR_CIPHER[16 * block :]


def key_stream(key: bytes, start: int, size: int) -> bytes:
    """Bytes [start, start + size) of the stream, block by block with the block cipher itself."""
    first, last = start // 16, -(-(start + size) // 16)
    encrypt = Cipher(algorithms.AES(key), modes.ECB()).encryptor()
    blocks = b"".join(encrypt.update(number.to_bytes(16, "big")) for number in range(first, last))
    return blocks[start - 16 * first :][:size]


@pytest.mark.parametrize("offset", [0, 16, 4096, 2**36 - 64, 2**68, 2**68 * 4095 + 16])
def test_the_stream_at_any_offset_is_the_block_cipher_of_the_counter(offset: int) -> None:
    assert prg.encryptor(CTR_KEY, offset).update(bytes(200)) == key_stream(CTR_KEY, offset, 200)
    buffer = prg.ChunkBuffer()
    zeros, drawn = buffer.stretch(25)
    prg.encryptor(CTR_KEY, offset).update_into(zeros, buffer.raw)
    assert drawn.astype("<u8").tobytes() == key_stream(CTR_KEY, offset, 200)


def test_the_stream_read_from_the_front() -> None:
    stream = prg.AesCtrStream(CTR_KEY)
    sizes = [1, 15, 16, 17, 0, 1000, prg.CHUNK_BYTES + 5]
    read = [np.empty(size, dtype=np.uint8) for size in sizes]
    for part in read:
        stream.fill(part)
    assert b"".join(part.tobytes() for part in read) == key_stream(CTR_KEY, 0, sum(sizes))


@pytest.mark.parametrize("offset", [1, 8, 17])
def test_offsets_inside_a_block_are_refused(offset: int) -> None:
    with pytest.raises(ValueError, match="multiples of 16"):
        prg.encryptor(CTR_KEY, offset)
