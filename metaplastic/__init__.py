"""metaplastic: networks that learn how to learn locally.

An outer loop meta-trains feedback connections, first weights and plasticity; an inner loop, one
online pass of a local rule and no gradient, then learns. Start from `OnlineLearner`.
"""

from metaplastic.artifact import from_pretrained, save_pretrained
from metaplastic.birth import Birth
from metaplastic.direct import Direct
from metaplastic.episode import Episode, StreamSpec, TaskStream
from metaplastic.evaluate import few_shot, over_lifetime
from metaplastic.feedback import Backprop, FeedbackPathway
from metaplastic.learner import MetaLoss, OnlineLearner
from metaplastic.objective import CrossEntropy, MeanSquaredError, Objective, objective_for
from metaplastic.optimizer import make_optimizer, make_schedule
from metaplastic.plasticity import Delta, Hebb, NormalizedHebb, Oja, PlasticityRule, StableOja
from metaplastic.rule import LearningRule
from metaplastic.site import Site
from metaplastic.stack import FastWeights, Stack
from metaplastic.trainer import MetaTrainer
from metaplastic.trainer_config import TrainerConfig
from metaplastic.unroll import Unroll

__version__ = "0.1.0"
__all__ = [
    "Backprop", "Birth", "CrossEntropy", "Delta", "Direct", "Episode", "FastWeights",
    "FeedbackPathway", "Hebb", "LearningRule", "MeanSquaredError", "MetaLoss", "MetaTrainer",
    "NormalizedHebb", "Objective", "Oja", "OnlineLearner", "PlasticityRule", "Site", "StableOja",
    "Stack", "StreamSpec", "TaskStream", "TrainerConfig", "Unroll", "few_shot", "from_pretrained",
    "make_optimizer", "make_schedule", "objective_for", "over_lifetime", "save_pretrained",
]  # fmt: skip
