"""Episodes whose fields do not fit together are refused before anything is computed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from metaplastic import Direct, LearningRule, Oja
from tests.helpers.lifetimes import dense, episodes, learner


def flp() -> LearningRule:
    return LearningRule(Direct(), Oja(rate=0.05))


def cut(name: str) -> Callable[[Any], Any]:
    return lambda e: e._replace(**{name: getattr(e, name)[:, :-1]})


@pytest.mark.parametrize(
    ("broken", "sentence"),
    [
        (cut("support_y"), "support_y has shape"),
        (cut("query_y"), "query_y has shape"),
        (lambda e: e._replace(query_x=e.query_x[:1]), "query_x has shape"),
        (lambda e: e._replace(query_x=e.query_x[..., :-1]), "of the query"),
        (
            lambda e: e._replace(support_x=e.support_x.long()),
            "support_x is torch.int64",
        ),
        (
            lambda e: e._replace(support_x=e.support_x[0, 0]),
            "axes tasks steps batch",
        ),
    ],
)
def test_episodes_that_do_not_fit_together_are_refused(broken: Any, sentence: str) -> None:
    subject = learner(dense(4, 2), flp())
    episode = episodes(outputs=2, shape=(4,), tasks=2, steps=3, batch=1)
    assert subject(episode).loss.isfinite()
    with pytest.raises(ValueError, match=sentence):
        subject(broken(episode))


def test_inputs_and_targets_of_a_piece_of_a_stream_have_to_match() -> None:
    subject = learner(dense(4, 2), flp())
    episode = episodes(outputs=2, shape=(4,), tasks=2, steps=3, batch=1)
    fast = subject.initialize(episode.support_y, episode.seed)
    with pytest.raises(ValueError, match="Inputs are of tasks, steps and batch"):
        subject.adapt(episode.support_x, episode.support_y[:, :2], fast)
