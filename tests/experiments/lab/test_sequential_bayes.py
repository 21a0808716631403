"""Sequential Bayes: the densities of scipy, from statistics that a Hebbian rule has summed."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from experiments.lab.networks.problem import Problem
from experiments.lab.settings.registry import ConfigError
from experiments.methods import sbmcl
from experiments.methods.sbmcl import PosteriorPredictive, Statistics, Variance
from metaplastic import OnlineLearner
from metaplastic.files.rule_file import from_pretrained, save_pretrained
from tasks.clusters import Clusters
from tasks.sines import Sines

stats = pytest.importorskip("scipy.stats")
STREAM = Clusters(ways=3, shots=4, queries_per_class=2, inputs=6, signal=3)


def built(variance: Variance, stream: Clusters = STREAM) -> OnlineLearner:
    """A learner in double precision, with a prior that is not the one it starts from."""
    torch.manual_seed(0)
    learner = sbmcl.build(Problem(stream.spec, "tiny"), variance=variance).double()
    with torch.no_grad():
        prior = statistics(learner).log_prior
        prior += 0.3 * torch.randn(prior.shape, dtype=prior.dtype)
    return learner


def statistics(learner: OnlineLearner) -> Statistics:
    (found,) = (layer for layer in learner.modules() if isinstance(layer, Statistics))
    return found


def adapted(learner: OnlineLearner, episode: Any) -> tuple[Any, Any, Any]:
    """Fast weights after the support, and features of support and queries."""
    with torch.no_grad():
        support, queries = learner.encode_episodes(episode)
        start = learner.initialize(episode.support_y, episode.seed)
        return learner.adapt(support, episode.support_y, start), support, queries


def log_density(variance: Variance, own: Any, query: Any, prior: Any) -> float:
    """Of a query under a class with these examples, feature by feature, as in the textbook."""
    count, total = len(own), 0.0
    for feature in range(len(query)):
        x = own[:, feature]
        kappa = prior[0][feature] + count
        mean = x.sum() / kappa
        if variance == "known":
            scale = np.sqrt(1 + 1 / kappa)
            total += stats.norm.logpdf(query[feature], mean, scale)
            continue
        kappa_0, alpha_0, beta_0 = (part[feature] for part in prior)
        alpha, average = alpha_0 + count / 2, x.mean() if count else 0.0
        beta = beta_0 + 0.5 * ((x - average) ** 2).sum()
        beta += kappa_0 * count * average**2 / (2 * kappa)
        scale = np.sqrt(beta * (kappa + 1) / (alpha * kappa))
        total += stats.t.logpdf(query[feature], 2 * alpha, mean, scale)
    return float(total)


@pytest.mark.parametrize("variance", ["known", "inferred"])
def test_outputs_are_log_densities_of_the_posterior_predictive(variance: Variance) -> None:
    learner = built(variance).eval()
    episode = STREAM.sample(2, torch.Generator().manual_seed(0)).to("cpu", torch.float64)
    fast, support, queries = adapted(learner, episode)
    with torch.no_grad():
        found = learner.predict(fast, queries).numpy()
    code = statistics(learner).log_prior.shape[1]
    prior = statistics(learner).log_prior.detach().exp().numpy()
    for life in range(2):
        examples, labels = support[life].flatten(0, 1)[:, :code], episode.support_y[life].flatten()
        rows = [
            [
                log_density(variance, examples[labels == c].numpy(), query[:code].numpy(), prior)
                for c in range(3)
            ]
            for query in queries[life]
        ]
        expected = np.array(rows)
        # Constants that classes share are left out.
        centered = found[life] - found[life].mean(1, keepdims=True)
        assert np.allclose(centered, expected - expected.mean(1, keepdims=True), atol=1e-8)


@pytest.mark.parametrize("variance", ["known", "inferred"])
def test_a_class_without_examples_has_the_density_of_the_prior(variance: Variance) -> None:
    code = 4
    x = Statistics(code, variance=variance).double()(torch.randn(1, 5, code, dtype=torch.float64))
    readout = PosteriorPredictive(code, 2, variance=variance).double()
    empty = torch.zeros(1, 2, readout.in_features, dtype=torch.float64)
    with torch.no_grad():
        first = readout.answer(x, empty)[0]
        prior = x[0, 0, 2 * code + 1 :].exp().view(-1, code).numpy()
    expected = [log_density(variance, np.zeros((0, code)), row[:code].numpy(), prior)
                for row in x[0].detach()]  # fmt: skip
    apart = first[:, 0].numpy() - np.array(expected)
    assert np.allclose(apart, apart[0])
    assert torch.equal(first[:, 0], first[:, 1])


@pytest.mark.parametrize("variance", ["known", "inferred"])
def test_the_order_of_examples_and_the_size_of_steps_do_not_matter(variance: Variance) -> None:
    learner = built(variance).eval()
    episode = STREAM.sample(1, torch.Generator().manual_seed(1)).to("cpu", torch.float64)
    fast, _, queries = adapted(learner, episode)
    x, y = (part.flip(1) for part in (episode.support_x, episode.support_y))
    four = (1, 3, 4)
    again = episode._replace(
        support_x=x.reshape(*four, -1), support_y=y.reshape(four),
        support_subtask=episode.support_subtask.flip(1).reshape(four),
    )  # fmt: skip
    other, _, _ = adapted(learner, again)
    with torch.no_grad():
        assert torch.allclose(learner.predict(fast, queries), learner.predict(other, queries))


def test_meta_gradients_reach_encoder_and_prior() -> None:
    for variance in ("known", "inferred"):
        learner = built(variance)  # type: ignore[arg-type]
        episode = STREAM.sample(2, torch.Generator().manual_seed(2)).to("cpu", torch.float64)
        learner(episode).loss.backward()
        first = next(layer for layer in learner.modules() if isinstance(layer, nn.Linear))
        for parameter in (first.weight, statistics(learner).log_prior):
            assert parameter.grad is not None
            assert parameter.grad.abs().sum() > 0


def test_a_rule_file_holds_the_prior(tmp_path: Any) -> None:
    from experiments.lab.networks.build import own_classes

    learner = built("inferred").float().eval()
    save_pretrained(learner, tmp_path / "rule", {"method": "sbmcl"})
    again = from_pretrained(tmp_path / "rule", classes=own_classes({"method": "sbmcl"}))
    episode = STREAM.sample(2, torch.Generator().manual_seed(3))
    with torch.no_grad():
        assert torch.equal(learner(episode).prediction, again(episode).prediction)


def test_regression_is_refused() -> None:
    with pytest.raises(ConfigError, match="sbmcl is for classification, and task 'sines'"):
        sbmcl.build(Problem(Sines().spec, "tiny"))
