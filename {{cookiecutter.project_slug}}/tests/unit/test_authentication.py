"""Which credential counts as presented. The wire and the database are tested in workflow and integration."""

import pytest

from service.api.authentication import presented


@pytest.mark.parametrize(
    ("api_keys", "authorizations", "expected"),
    [
        (["svk_a"], [], "svk_a"),
        ([], ["Bearer svk_a"], "svk_a"),
        ([], ["bearer svk_a"], "svk_a"),
        ([], [], None),
        ([], ["Basic abc"], None),
        ([], ["Bearer"], None),
        ([""], [], None),
        (["svk_a"], ["Bearer svk_a"], None),
        (["svk_a", "svk_b"], [], None),
        ([], ["Bearer svk_a", "Bearer svk_b"], None),
        (["svk_ä"], [], None),
        (["svk_".ljust(201, "k")], [], None),
        (["a.b.c"], [], None),
        ([], ["Bearer a.b.c"], "a.b.c"),
        ([], ["Bearer " + "k" * 8193], None),
        ([], ["Bearer " + "svk_".ljust(201, "k")], None),
    ],
)
def test_exactly_one_well_formed_credential_counts(api_keys, authorizations, expected):
    assert presented(api_keys, authorizations) == expected
