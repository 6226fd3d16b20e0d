"""What is encrypted opens for its place and its keys only, and says nothing meanwhile."""

import pytest

from service.integration.encryption import ID, NONCE, CannotDecrypt, Cipher

CONTENT = {"body": "où est ma commande ? " * 20, "n": [1.5, None, True]}
PLACE = ("payload", "acme", "d-1")


def cipher(keys: str) -> Cipher:
    return Cipher(lambda: keys)


def test_it_comes_back_as_it_was_and_is_not_to_be_seen():
    encrypted = cipher("new").encrypt(CONTENT, *PLACE)
    assert cipher("new").decrypt(encrypted, *PLACE) == CONTENT
    assert b"commande" not in encrypted
    assert encrypted != cipher("new").encrypt(CONTENT, *PLACE)


def test_the_newest_key_encrypts_and_older_ones_still_decrypt():
    old = cipher("old").encrypt(CONTENT, *PLACE)
    rotated = cipher("new, old")
    assert rotated.decrypt(old, *PLACE) == CONTENT
    new = rotated.encrypt(CONTENT, *PLACE)
    assert cipher("new").decrypt(new, *PLACE) == CONTENT
    for wrong in ("old", "other"):
        with pytest.raises(CannotDecrypt, match="no longer holds"):
            cipher(wrong).decrypt(new, *PLACE)


def test_a_rotated_key_is_picked_up_without_a_restart():
    keys = ["old"]
    live = Cipher(lambda: keys[0])
    before = live.encrypt(CONTENT, *PLACE)
    keys[0] = "new,old"
    assert live.decrypt(before, *PLACE) == CONTENT
    assert cipher("new").decrypt(live.encrypt(CONTENT, *PLACE), *PLACE) == CONTENT


@pytest.mark.parametrize(
    "place",
    [("effect", "acme", "d-1"), ("payload", "other", "d-1"), ("payload", "acme", "d-2"), ("payload", "acmed-1")],
)
def test_it_opens_at_no_other_place(place):
    with pytest.raises(CannotDecrypt, match="not encrypted for this place"):
        cipher("new").decrypt(cipher("new").encrypt(CONTENT, *PLACE), *place)


def test_no_byte_can_be_changed():
    encrypted = cipher("new").encrypt(CONTENT, *PLACE)
    for at in range(len(encrypted)):
        with pytest.raises(CannotDecrypt):
            cipher("new").decrypt(encrypted[:at] + bytes([encrypted[at] ^ 1]) + encrypted[at + 1 :], *PLACE)
    for cut in (0, 1, 1 + ID, 1 + ID + NONCE, len(encrypted) - 1):
        with pytest.raises(CannotDecrypt):
            cipher("new").decrypt(encrypted[:cut], *PLACE)


def test_a_name_is_found_again_under_every_key_and_not_guessed_without_one():
    assert cipher("new,old").marks("acme", "c-1") == cipher("new").marks("acme", "c-1") + cipher("old").marks(
        "acme", "c-1"
    )
    assert len({*cipher("new,old").marks("acme", "c-1"), *cipher("new").marks("other", "c-1")}) == 3


@pytest.mark.parametrize("keys", ["", " , "])
def test_without_a_key_there_is_no_cipher(keys):
    with pytest.raises(ValueError, match="payload_key is empty"):
        cipher(keys)
