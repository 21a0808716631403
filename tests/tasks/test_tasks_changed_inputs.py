"""Changed inputs: every lifetime has its own map, of the strength of its option."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

import tasks
from metaplastic.episode import Episode, TaskStream
from tasks.changed_inputs import CHANGES, Change, Changed, ChangedInputs, lit, mixed, permuted
from tasks.clusters import Clusters
from tasks.glyphs import Glyphs
from tasks.images import ArrayImages
from tasks.sines import Sines


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def inputs(episode: Episode) -> Tensor:
    return torch.cat([episode.support_x.flatten(1, 2), episode.query_x], 1)


def images() -> ArrayImages:
    generator = seeded(3)
    array = torch.randint(256, (9, 6, 5, 4, 3), dtype=torch.uint8, generator=generator)
    return ArrayImages(array=array, ways=3, shots=2, queries_per_class=2)


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("base", [Clusters(shots=3, queries_per_class=2), images()])
def test_nothing_but_the_inputs_is_changed_and_at_strength_0_not_these(
    change: Change, base: TaskStream
) -> None:
    plain = base.sample(3, seeded())
    for strength in (0.0, 1.0):
        stream = Changed(stream=base, change=change, strength=strength)
        assert isinstance(stream, TaskStream)
        episode = stream.sample(3, seeded())
        stream.spec.check(episode)
        rest = [name for name in Episode._fields if name not in ("support_x", "query_x")]
        assert all(torch.equal(getattr(episode, name), getattr(plain, name)) for name in rest)
        apart = (inputs(episode) - inputs(plain)).abs().amax()
        assert apart < 1e-6 if strength == 0 else apart > 0.1


@pytest.mark.parametrize("size", [7, 32])
def test_a_mixing_is_an_orthogonal_matrix_of_each_lifetime(size: int) -> None:
    eye = torch.eye(size, dtype=torch.float64).expand(3, -1, -1)
    full, half = (
        mixed(eye, torch.full((3, 1, 1), amount, dtype=torch.float64), seeded())
        for amount in (1.0, 0.5)
    )
    for matrix in (full, half):
        assert torch.allclose(matrix @ matrix.mT, eye, atol=1e-6)
    assert not torch.allclose(full[0], full[1], atol=0.1)
    # At full strength an input keeps no more of itself than of the others; at half it does.
    kept = [matrix.diagonal(dim1=1, dim2=2).square().mean() for matrix in (full, half)]
    assert kept[0] < 3 / size
    assert kept[1] < 1


def test_every_example_of_a_lifetime_is_mixed_by_the_same_matrix() -> None:
    x = torch.randn(2, 5, 12, generator=seeded(1), dtype=torch.float64)
    amount = torch.ones(2, 1, 1, dtype=torch.float64)
    eye = torch.eye(12, dtype=torch.float64).expand(2, -1, -1)
    assert torch.allclose(mixed(x, amount, seeded()), x @ mixed(eye, amount, seeded()), atol=1e-6)


def test_a_drift_begins_with_no_change_and_grows() -> None:
    base = Clusters(shots=8)
    plain = base.sample(50, seeded())
    drifted = Changed(stream=base, change="drift", strength=0.3).sample(50, seeded())
    moved = (drifted.support_x - plain.support_x).flatten(1, 2).norm(dim=-1).mean(0)
    assert moved[0] < 1e-5
    assert moved[:10].mean() < moved[15:25].mean() < moved[-10:].mean()
    queries = (drifted.query_x - plain.query_x).norm(dim=-1).mean()
    assert queries == pytest.approx(float(moved[-5:].mean()), rel=0.1)


@pytest.mark.parametrize("strength", [0.25, 1.0])
def test_a_permutation_moves_the_share_of_the_inputs_that_was_asked_for(strength: float) -> None:
    x = torch.arange(40.0).expand(6, 2, -1)
    moved = permuted(x, torch.full((6,), strength), seeded())
    assert torch.equal(moved.sort(-1).values, x)
    assert torch.equal(moved[:, 0], moved[:, 1])
    assert ((moved != x).sum(-1) == round(40 * strength)).all()
    assert not torch.equal(moved[0], moved[1])


def test_channels_of_an_image_are_permuted_together() -> None:
    pixels = torch.arange(20.0).view(4, 5)
    x = torch.stack([pixels, pixels + 100]).expand(3, 2, -1, -1, -1)
    moved = permuted(x, torch.ones(3), seeded())
    assert torch.equal(moved[:, :, 0] + 100, moved[:, :, 1])


def test_a_light_is_a_plane_of_gains_and_offsets_on_an_image() -> None:
    dark, bright = torch.zeros(2, 1, 3, 6, 5), torch.ones(2, 1, 3, 6, 5)
    strength = torch.tensor([1.0, 0.5])
    offset = lit(dark, strength, seeded())
    gain = (lit(bright, strength, seeded()) - offset).log()
    for plane in (offset, gain):
        assert plane.diff(n=2, dim=-1).abs().max() < 1e-5
        assert plane.diff(n=2, dim=-2).abs().max() < 1e-5
        assert torch.allclose(plane[:, :, :1].expand_as(plane), plane, atol=1e-6)
        assert plane.std() > 0.05


def test_of_new_classes_each_has_a_mixing_of_its_own() -> None:
    base = Clusters(ways=4, shots=5)
    plain = base.sample(6, seeded())
    changed = Changed(stream=base, change="classes", strength=0.5).sample(6, seeded())
    touched = (inputs(changed) - inputs(plain)).norm(dim=-1) > 1e-3
    subtask = torch.cat([plain.support_subtask.flatten(1), plain.query_subtask], 1)
    for life in range(6):
        new = [bool(touched[life][subtask[life] == c].any()) for c in range(4)]
        assert new == [bool(touched[life][subtask[life] == c].all()) for c in range(4)]
        assert sum(new) == 2


def test_uniform_strengths_are_between_none_and_the_one_given() -> None:
    base = Clusters(ways=2, shots=1, queries_per_class=1, inputs=100)
    plain = base.sample(200, seeded())
    stream = Changed(stream=base, change="permutation", strength=0.5, uniform=True)
    moved = (stream.sample(200, seeded()).query_x != plain.query_x).float().mean((1, 2))
    assert moved.max() <= 0.5
    assert moved.min() < 0.05
    assert moved.mean() == pytest.approx(0.25, abs=0.03)


def test_lifetimes_at_two_strengths_have_the_same_examples_and_maps() -> None:
    x = torch.arange(30.0).expand(4, 1, -1)
    few, many = (permuted(x, torch.full((4,), share), seeded()) != x for share in (0.2, 0.6))
    assert (few & ~many).sum() == 0


def test_streams_with_other_changes_have_other_fingerprints() -> None:
    marks = {
        Changed(stream=Clusters(), change=change, strength=strength).spec.fingerprint
        for change in CHANGES
        for strength in (0.5, 1.0)
    }
    assert len(marks) == 2 * len(CHANGES)


def test_targets_may_be_real_and_any_stream_is_found_by_its_name() -> None:
    stream = Changed(stream=Sines(functions=2, steps_per_function=2, batch=3), change="mixing")
    stream.spec.check(stream.sample(2, seeded()))
    named = tasks.build("changed_inputs", base="glyphs", change="contrast", ways=2, shots=1)
    own = Changed(stream=Glyphs(ways=2, shots=1, queries_per_class=10), change="contrast")
    assert named.spec == own.spec
    assert torch.equal(named.sample(2, seeded()).query_x, own.sample(2, seeded()).query_x)


def test_what_cannot_be_sampled_is_one_sentence() -> None:
    with pytest.raises(ValueError, match=r"strength is 1[.]5; it must be from 0, no change, to 1"):
        Changed(stream=Clusters(), strength=1.5)
    with pytest.raises(ValueError, match="change is 'noise'; it must be one of mixing, drift"):
        ChangedInputs(change="noise")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="base is 'changed_inputs' itself; name another stream"):
        ChangedInputs(base="changed_inputs")
    with pytest.raises(ValueError, match="no stream 'cluster'; did you mean 'clusters'"):
        ChangedInputs(base="cluster")
