"""What is sealed opens for its place and its keys only, and says nothing meanwhile."""

import pytest

from service.integration.sealing import ID, NONCE, CannotOpen, Sealer

CONTENT = {"body": "où est ma commande ? " * 20, "n": [1.5, None, True]}
PLACE = ("payload", "acme", "d-1")


def sealer(keys: str) -> Sealer:
    return Sealer(lambda: keys)


def test_it_comes_back_as_it_was_and_is_not_to_be_seen():
    sealed = sealer("new").seal(CONTENT, *PLACE)
    assert sealer("new").open(sealed, *PLACE) == CONTENT
    assert b"commande" not in sealed
    assert sealed != sealer("new").seal(CONTENT, *PLACE)


def test_the_newest_key_seals_and_older_ones_still_open():
    old = sealer("old").seal(CONTENT, *PLACE)
    rotated = sealer("new, old")
    assert rotated.open(old, *PLACE) == CONTENT
    new = rotated.seal(CONTENT, *PLACE)
    assert sealer("new").open(new, *PLACE) == CONTENT
    for wrong in ("old", "other"):
        with pytest.raises(CannotOpen, match="no longer holds"):
            sealer(wrong).open(new, *PLACE)


def test_a_rotated_key_is_picked_up_without_a_restart():
    keys = ["old"]
    live = Sealer(lambda: keys[0])
    before = live.seal(CONTENT, *PLACE)
    keys[0] = "new,old"
    assert live.open(before, *PLACE) == CONTENT
    assert sealer("new").open(live.seal(CONTENT, *PLACE), *PLACE) == CONTENT


@pytest.mark.parametrize(
    "place",
    [("effect", "acme", "d-1"), ("payload", "other", "d-1"), ("payload", "acme", "d-2"), ("payload", "acmed-1")],
)
def test_it_opens_at_no_other_place(place):
    with pytest.raises(CannotOpen, match="not sealed for this place"):
        sealer("new").open(sealer("new").seal(CONTENT, *PLACE), *place)


def test_no_byte_can_be_changed():
    sealed = sealer("new").seal(CONTENT, *PLACE)
    for at in range(len(sealed)):
        with pytest.raises(CannotOpen):
            sealer("new").open(sealed[:at] + bytes([sealed[at] ^ 1]) + sealed[at + 1 :], *PLACE)
    for cut in (0, 1, 1 + ID, 1 + ID + NONCE, len(sealed) - 1):
        with pytest.raises(CannotOpen):
            sealer("new").open(sealed[:cut], *PLACE)


def test_a_name_is_found_again_under_every_key_and_not_guessed_without_one():
    assert sealer("new,old").marks("acme", "c-1") == sealer("new").marks("acme", "c-1") + sealer("old").marks(
        "acme", "c-1"
    )
    assert len({*sealer("new,old").marks("acme", "c-1"), *sealer("new").marks("other", "c-1")}) == 3


@pytest.mark.parametrize("keys", ["", " , "])
def test_without_a_key_there_is_no_sealer(keys):
    with pytest.raises(ValueError, match="payload_key is empty"):
        sealer(keys)
