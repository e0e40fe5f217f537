import pickle
import time

import numpy as np
import pytest
from fmcore.schema._ids import IdTable, mix, search, unmix

from fmcore.errors import DataError, ModelError, UsageError
from fmcore.schema import ids as idmaps
from fmcore.schema.ids import CompactIds, HashedIds, IdMap, KeptIds, from_tensors, id_map

MASK = 2**64 - 1
LARGE = [0, 1, 2, 7, 2**31 - 2, 2**31 - 1, 2**31, 2**40 + 1, 2**63 - 1, 2**63, MASK - 1, MASK]


def wide(values):
    return np.array(values, np.uint64)


def splitmix64(state):
    """Return the first number of SplitMix64, in Python's integers."""
    z = (state + 0x9E3779B97F4A7C15) & MASK
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9 & MASK
    z = (z ^ (z >> 27)) * 0x94D049BB133111EB & MASK
    return z ^ (z >> 31)


def in_blocks(growing, ids, size):
    return np.concatenate([growing.map(ids[at : at + size]) for at in range(0, len(ids), size)])


def first_appearance(ids):
    """Return the index of each id by a dict."""
    numbers = {}
    return [numbers.setdefault(each, len(numbers)) for each in ids.tolist()]


def some_ids(size=5000, distinct=900, seed=1):
    generator = np.random.default_rng(seed)
    pool = np.concatenate([wide(LARGE), generator.integers(0, 2**64, distinct, dtype=np.uint64), wide(range(100, 300))])
    return pool[np.minimum(generator.zipf(1.3, size) - 1, len(pool) - 1)]


def test_plain_ids_are_indices():
    plain = id_map()
    assert type(plain) is IdMap
    assert (plain.wide, plain.grows, plain.partial, plain.feature_dim) == (False, False, False, None)
    assert plain.map(np.array([3, 0], np.int32)).tolist() == [3, 0]
    assert (plain.tensors(), type(from_tensors({}))) == ({}, IdMap)


def test_the_mix_is_splitmix64_whose_first_numbers_are_published():
    # from the generator's reference code with seed 0 and 1234567 (rosettacode.org, Pseudo-random numbers/Splitmix64)
    assert mix(wide([0, 1234567])).tolist() == [0xE220A8397B1DCDAF, 6457827717110365317]
    assert mix(wide(LARGE)).tolist() == [splitmix64(each) for each in LARGE]
    assert unmix(mix(wide(LARGE))).tolist() == LARGE


@pytest.mark.parametrize("bits", [1, 8, 22, 30])
def test_hashed_ids_are_the_mix_modulo_a_power_of_two(bits):
    hashed = id_map(bits)
    assert (hashed.wide, hashed.grows, hashed.feature_dim) == (True, False, 2**bits)
    indices = hashed.map(wide(LARGE))
    assert indices.dtype == np.int32
    assert indices.tolist() == [splitmix64(each) % 2**bits for each in LARGE]
    assert from_tensors(hashed.tensors(), bits).map(wide(LARGE)).tolist() == indices.tolist()
    assert hashed.ids_at(indices) is None


def test_neighbouring_ids_are_spread_evenly():
    counts = np.bincount(HashedIds(10).map(np.arange(2**20, dtype=np.uint64)), minlength=2**10)
    assert 850 < counts.min() < counts.max() < 1200


def test_bits_out_of_range_and_two_ways_at_once_are_refused():
    for bits in (0, 31):
        with pytest.raises(UsageError, match=f"--hash-bits is {bits}; expected 1 to 30"):
            id_map(bits)
    with pytest.raises(UsageError, match="--compact and --hash-bits exclude each other"):
        id_map(4, compact=True)


@pytest.mark.parametrize("size", [1, 7, 1000, 10_000])
def test_compact_ids_are_numbered_by_first_appearance_in_blocks_of_any_size(size):
    ids = some_ids()
    growing = id_map(compact=True)
    assert (growing.wide, growing.grows, growing.partial, growing.feature_dim) == (True, True, True, 0)
    indices = in_blocks(growing, ids, size)
    assert indices.dtype == np.int32
    assert indices.tolist() == first_appearance(ids)
    assert growing.feature_dim == len(set(ids.tolist()))
    whole = CompactIds()
    whole.map(ids)
    for name, tensor in whole.tensors().items():
        assert tensor.tobytes() == growing.tensors()[name].tobytes()


def test_a_frozen_map_knows_what_it_has_seen_and_nothing_else():
    growing = CompactIds()
    assert growing.map(wide([9, 2**40, 9])).tolist() == [0, 1, 0]
    growing.freeze()
    assert not growing.grows
    assert growing.map(wide([5, 2**40, 9, 0])).tolist() == [-1, 1, 0, -1]
    assert growing.feature_dim == 2
    assert growing.map(wide([])).tolist() == []


def mapped(tensors, folder):
    """Return the tensors mapped read-only from files."""
    for name, tensor in tensors.items():
        np.save(folder / f"{name}.npy", tensor)
    return {name: np.load(folder / f"{name}.npy", mmap_mode="r") for name in tensors}


def test_a_map_is_looked_up_in_its_mapped_tensors(tmp_path):
    ids = some_ids()
    growing = CompactIds()
    indices = growing.map(ids)
    tensors = growing.tensors()
    assert {name: tensor.dtype.name for name, tensor in tensors.items()} == {"keys": "int64", "indices": "int32"}
    loaded = from_tensors(mapped(tensors, tmp_path))
    assert (loaded.feature_dim, loaded.grows, loaded.wide) == (growing.feature_dim, False, True)
    assert loaded.map(ids).tolist() == indices.tolist()
    strange = np.setdiff1d(wide(range(10_000)), ids)
    assert set(loaded.map(strange).tolist()) == {-1}
    assert loaded.tensors()["keys"].tobytes() == tensors["keys"].tobytes()
    assert loaded.ids_at(np.array([4, 0, 4])).tolist() == growing.ids_at(np.array([4, 0, 4])).tolist()
    assert from_tensors(CompactIds().tensors()).map(ids).max() == -1


def test_a_loaded_map_grows_where_it_is_asked_to():
    growing = CompactIds()
    ids = some_ids()
    growing.map(ids[:3000])
    again = from_tensors(growing.tensors(), grows=True)
    assert again.map(ids).tolist() == first_appearance(ids)


def test_maps_are_pickled():
    growing = CompactIds()
    ids = some_ids()
    indices = growing.map(ids)
    growing.freeze()
    loaded = from_tensors(growing.tensors())
    kept = growing.subset(np.arange(growing.feature_dim) % 3 == 0)
    kept_hashed = HashedIds(6).subset(np.arange(64) % 3 == 0)
    for each in (growing, loaded, kept, HashedIds(9), kept_hashed):
        copy = pickle.loads(pickle.dumps(each))
        assert copy.map(ids).tolist() == each.map(ids).tolist()
        assert (copy.grows, copy.feature_dim) == (False, each.feature_dim)
    assert pickle.loads(pickle.dumps(CompactIds())).map(ids).tolist() == indices.tolist()


def kept_of(indices, keep):
    """Return the indices of a subset: renumbered in order, -1 where not kept."""
    renumbered = np.where(keep, np.cumsum(keep) - 1, -1)
    return np.where(indices < 0, -1, renumbered[indices]).tolist()


def test_a_subset_keeps_some_ids_in_their_order():
    ids, keep = some_ids(), np.random.default_rng(3).random(64) < 0.4
    plain, narrow = IdMap(), np.arange(64, dtype=np.int32)
    hashed, compact = HashedIds(6), CompactIds()
    compact.map(ids)
    compact.freeze()
    for full, given, size in ((plain, narrow, 64), (hashed, ids, 64), (compact, ids, compact.feature_dim)):
        chosen = np.resize(keep, size)
        part = full.subset(chosen)
        assert (part.feature_dim, part.wide, part.grows, part.partial) == (chosen.sum(), full.wide, False, True)
        expected = kept_of(full.map(given), chosen)
        assert part.map(given).tolist() == expected
        again = from_tensors(part.tensors(), 6 if full is hashed else None)
        assert again.map(given).tolist() == expected
        half = np.arange(chosen.sum()) % 2 == 0
        assert part.subset(half).map(given).tolist() == kept_of(np.array(expected), half)
    assert plain.subset(keep).ids_at(np.array([1])).tolist() == [np.flatnonzero(keep)[1]]
    assert plain.subset(keep).map(np.array([2**31 - 2], np.int32)).tolist() == [-1]


@pytest.mark.parametrize(
    "tensors",
    [
        {"keys": np.zeros(2, np.int64)},
        {"keys": np.zeros(2, np.int64), "indices": np.zeros(3, np.int32)},
        {"keys": np.zeros(2, np.int64), "indices": np.zeros(2, np.int64)},
        {"keys": np.zeros((2, 1), np.int64), "indices": np.zeros((2, 1), np.int32)},
        {"kept": np.zeros(2, np.float32)},
        {"values": np.zeros(2, np.int64)},
    ],
)
def test_tensors_that_no_map_has_are_refused(tensors):
    with pytest.raises(ModelError, match="damaged: its ids are kept as "):
        from_tensors(tensors)


def test_damaged_tensors_give_some_index_and_end_nothing():
    generator = np.random.default_rng(5)
    keys, ids = generator.integers(0, 2**64, 1000, dtype=np.uint64), some_ids()
    for damaged in (keys, np.zeros(1000, np.uint64), np.full(1000, MASK, np.uint64), np.sort(keys)[::-1].copy()):
        found = search(damaged, np.arange(1000, dtype=np.int32), np.concatenate([ids, unmix(keys)]))
        assert -1 <= found.min() <= found.max() < 1000
    twice = {"keys": np.sort(keys).view(np.int64), "indices": np.zeros(1000, np.int32)}
    with pytest.raises(ModelError, match="the indices of its ids are not 0 to their number"):
        from_tensors(twice, grows=True)
    with pytest.raises(ModelError, match="the indices of its ids are not 0 to their number"):
        from_tensors(twice).ids_at(np.array([5]))


def test_ids_that_are_chosen_to_lie_close_together_are_found(tmp_path):
    keys = np.concatenate([np.arange(4000, dtype=np.uint64), wide([2**63, MASK]), wide(range(2**62, 2**62 + 4000))])
    ids = unmix(np.sort(keys))
    chosen = CompactIds.numbered(ids)
    loaded = from_tensors(chosen.tensors())
    assert loaded.map(ids).tolist() == chosen.map(ids).tolist() == list(range(len(ids)))


def test_more_ids_than_indices_are_refused(monkeypatch):
    monkeypatch.setattr(idmaps, "MAX_FEATURE_DIM", 5)
    growing = CompactIds()
    assert growing.map(wide([1, 2, 3, 4, 5, 1])).tolist() == [0, 1, 2, 3, 4, 0]
    with pytest.raises(DataError, match="more than 5 different ids; --hash-bits"):
        growing.map(wide([1, 6]))


def test_millions_of_ids_are_numbered_in_seconds():
    pool = np.random.default_rng(0).integers(0, 2**64, 3_000_000, dtype=np.uint64)
    growing = CompactIds()
    started = time.process_time()
    in_blocks(growing, pool, 1_000_000)
    tensors = growing.tensors()
    assert time.process_time() - started < 8
    assert growing.feature_dim == len(pool)
    assert IdTable(pool).nbytes < 40 * len(pool)
    started = time.process_time()
    assert from_tensors(tensors).map(pool[-300_000:]).tolist() == list(range(len(pool) - 300_000, len(pool)))
    assert time.process_time() - started < 3


def test_a_subset_of_a_subset_of_hashed_ids_is_one_look_up():
    part = HashedIds(4).subset(np.arange(16) > 3).subset(np.arange(12) > 3)
    assert isinstance(part, KeptIds)
    assert part.tensors()["kept"].tolist() == list(range(8, 16))


@pytest.mark.parametrize("kept", [[0, 1, 5, 900], [3, 4, 2_000_000_000], [], [7], [5, 3], [-4, 2]])
def test_kept_indices_are_found_alike_by_search_and_by_table(kept):
    part, indices = KeptIds(IdMap(), np.array(kept, np.int32)), np.array([*range(1000), 2_000_000_000], np.int32)
    first = part.map(indices)
    if kept == sorted(kept):
        assert first.tolist() == [kept.index(each) if each in kept else -1 for each in indices.tolist()]
    for _ in range(3):
        assert part.map(indices).tolist() == first.tolist()
    assert part.map(np.empty(0, np.int32)).dtype == np.int32


def test_many_ids_are_mapped_to_a_subset_at_speed():
    part, ids = HashedIds(20).subset(np.arange(2**20) % 3 == 0), np.arange(3_000_000, dtype=np.uint64)
    started = time.process_time()
    assert 0.33 < (part.map(ids) >= 0).mean() < 0.34
    assert time.process_time() - started < 0.7
