import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mmjax.data.splits.assign import assign, folds
from mmjax.errors import UserError

SHARES = (0.8, 0.1, 0.1)


def test_parts_have_their_shares_and_follow_the_seed():
    parts = assign(1000, SHARES, seed=0)
    assert np.bincount(parts).tolist() == [800, 100, 100]
    np.testing.assert_array_equal(parts, assign(1000, (8, 1, 1), seed=0))
    assert (parts != assign(1000, SHARES, seed=1)).any()
    assert np.abs(np.diff(np.flatnonzero(parts == 1))).max() > 20  # at random, not every tenth


@settings(deadline=None, max_examples=50)
@given(seed=st.integers(0, 1000), counts=st.lists(st.integers(1, 60), min_size=1, max_size=6))
def test_each_class_has_its_share_in_each_part_up_to_a_row(seed, counts):
    classes = np.random.default_rng(seed).permutation(np.repeat(np.arange(len(counts)), counts))
    parts = assign(len(classes), SHARES, seed=seed, classes=classes)
    for c, count in enumerate(counts):
        of_class = np.bincount(parts[classes == c], minlength=3)
        assert (np.abs(of_class - np.array(SHARES) * count) < 2).all()


@settings(deadline=None, max_examples=50)
@given(seed=st.integers(0, 1000), stratified=st.booleans())
def test_no_group_is_in_two_parts_and_parts_keep_their_shares(seed, stratified):
    rng = np.random.default_rng(seed)
    groups = rng.permutation(np.repeat(np.arange(100), rng.integers(1, 6, 100)))
    classes = rng.integers(0, 3, len(groups)) if stratified else None
    parts = assign(len(groups), SHARES, seed=seed, classes=classes, groups=groups)
    assert all(len(set(parts[groups == g])) == 1 for g in range(100))
    assert (np.abs(np.bincount(parts, minlength=3) / len(groups) - SHARES) < 0.03).all()
    if stratified:
        for c in range(3):
            share = np.mean(parts[classes == c] == 0)
            assert abs(share - 0.8) < 0.1


def test_groups_keep_classes_in_each_part_when_they_can():
    groups = np.repeat(np.arange(40), 5)
    classes = groups % 2
    parts = assign(200, (0.5, 0.5), seed=0, classes=classes, groups=groups)
    assert [np.sum(classes[parts == part]) for part in (0, 1)] == [50, 50]


def test_each_row_is_in_validation_once():
    groups = np.arange(20) // 2
    for options in ({}, {"groups": groups}, {"classes": np.arange(20) % 2}):
        found = folds(20, 4, seed=0, **options)
        validation = np.concatenate([rows for _, rows in found])
        np.testing.assert_array_equal(np.sort(validation), np.arange(20))
        for train, rows in found:
            assert not set(train) & set(rows)
            assert len(train) + len(rows) == 20
            if "groups" in options:
                assert not set(groups[train]) & set(groups[rows])
    with pytest.raises(UserError, match="11 folds of 10 groups: give 2 to 10"):
        folds(20, 11, seed=0, groups=groups)


@pytest.mark.parametrize("shares", [(), (0.5, 0.0), (1, -1), (float("nan"), 1)])
def test_shares_are_above_zero(shares):
    with pytest.raises(UserError, match="give numbers above 0"):
        assign(10, shares, seed=0)
