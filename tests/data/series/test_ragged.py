import tracemalloc

import numpy as np

from kapps import data
from kapps.data.series.ragged import Ragged, alike, by_length, pack, take

RNG = np.random.default_rng(0)
LENGTHS = [3, 400, 2, 5, 3, 9, 120, 4, 2, 6]
SERIES = [RNG.normal(size=(n, 2)).astype(np.float32) for n in LENGTHS]


def test_it_looks_like_one_padded_array():
    ragged = pack(SERIES)
    assert isinstance(ragged, Ragged) and ragged.shape == (10, 400, 2) and len(ragged) == 10
    some = ragged[[3, 0]]
    assert some.shape == (2, 5, 2) and np.isnan(some[1, 3:]).all()
    np.testing.assert_array_equal(some[0], SERIES[3])
    np.testing.assert_array_equal(some[1, :3], SERIES[0])
    whole = ragged.padded()
    for row, one in zip(whole, SERIES, strict=True):
        np.testing.assert_array_equal(row[: len(one)], one)
        assert np.isnan(row[len(one) :]).all()
    np.testing.assert_array_equal(ragged[2:4], whole[2:4, :5])
    assert [len(one) for one in ragged] == LENGTHS and len(ragged.take([])) == 0


def test_about_equal_lengths_are_padded():
    packed = pack(SERIES[2:6])
    assert isinstance(packed, np.ndarray) and packed.shape == (4, 9, 2)
    np.testing.assert_array_equal(take(packed, np.array([1]))[0, :5], SERIES[3])


def test_groups_of_a_length():
    groups = alike(Ragged.of(SERIES), 3)
    assert sorted(np.concatenate(groups).tolist()) == list(range(10))
    for rows in groups:
        lengths = [LENGTHS[row] for row in rows]
        assert len(rows) <= 3 and max(lengths) <= 2 * min(lengths)
    assert [g.tolist() for g in alike(np.zeros((5, 3, 1)), 2)] == [[0, 1], [2, 3], [4]]


def test_answers_stay_in_order():
    longest = []

    def sums(values):
        longest.append(values.shape[1])
        return np.nansum(values, axis=(1, 2))

    found = by_length(sums, Ragged.of(SERIES))
    np.testing.assert_allclose(found, [one.sum() for one in SERIES], rtol=1e-5)
    assert sorted(longest) == [4, 9, 120, 400]  # 2 3 4, 5 6 9, and the long ones alone


def test_one_long_series_costs_its_own_steps(tmp_path):
    """Padded, 2,001 series of 20,000 steps would take 160 MB."""
    lines = [
        f"{i},{'ab'[i % 2]},{t},{(i * 7 + t) % 10}\n"
        for i in range(2001)
        for t in range(20_000 if i == 1000 else 3)
    ]
    (tmp_path / "a.csv").write_text("series,label,time,v\n" + "".join(lines))
    tracemalloc.start()
    found = data.load_sequences(f"csv:{tmp_path / 'a.csv'}")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert found.steps == 20_000 and sum(found.counts.values()) == 2001
    assert peak < 60e6
    mean, std = data.sequence_statistics(found.splits["train"])
    every = np.concatenate([one[:, 0] for one in found.splits["train"].values])
    np.testing.assert_allclose([mean[0], std[0]], [every.mean(), every.std()], rtol=1e-5)
