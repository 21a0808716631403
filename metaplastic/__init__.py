"""metaplastic: networks that learn how to learn locally.

An outer loop meta-trains feedback connections, first weights and plasticity; an inner loop, one
online pass of a local rule and no gradient, then learns. Start from `OnlineLearner`.
"""

from metaplastic.artifact import RuleFileError, from_pretrained, save_pretrained
from metaplastic.birth import Birth
from metaplastic.catalog import shipped
from metaplastic.checkpoint import CheckpointError
from metaplastic.credit_angles import angles
from metaplastic.credit_assignment import Credit, credit
from metaplastic.credit_exact import gradients
from metaplastic.credit_log import AngleLog
from metaplastic.credit_rule import CreditRule
from metaplastic.direct import Direct
from metaplastic.direct_random import RandomDirect
from metaplastic.divergence import DivergenceError
from metaplastic.episode import Episode, StreamSpec, TaskStream
from metaplastic.evaluate import few_shot, over_lifetime
from metaplastic.feedback import Backprop, FeedbackPathway
from metaplastic.few_shot_report import FewShotReport
from metaplastic.grow import grow
from metaplastic.interference import interference
from metaplastic.interference_matrix import Interference
from metaplastic.learner import OnlineLearner
from metaplastic.meta_loss import MetaLoss
from metaplastic.objective import CrossEntropy, MeanSquaredError, Objective, objective_for
from metaplastic.optimizer import make_optimizer, make_schedule
from metaplastic.own_matrix import report_of
from metaplastic.plasticity import Delta, Hebb, NormalizedHebb, Oja, PlasticityRule, StableOja
from metaplastic.plug import PlasticModule
from metaplastic.polynomial import Polynomial
from metaplastic.report import ContinualReport
from metaplastic.rule import LearningRule
from metaplastic.rules import cite, rules
from metaplastic.sequential import RandomFeedback
from metaplastic.sinks import JsonLines
from metaplastic.site import Site
from metaplastic.stack import FastWeights, Stack, Tape
from metaplastic.trainer import MetaTrainer
from metaplastic.trainer_config import TrainerConfig
from metaplastic.unroll import Unroll

__version__ = "0.1.0"
__all__ = [
    "AngleLog",
    "Backprop",
    "Birth",
    "CheckpointError",
    "ContinualReport",
    "Credit",
    "CreditRule",
    "CrossEntropy",
    "Delta",
    "Direct",
    "DivergenceError",
    "Episode",
    "FastWeights",
    "FeedbackPathway",
    "FewShotReport",
    "Hebb",
    "Interference",
    "JsonLines",
    "LearningRule",
    "MeanSquaredError",
    "MetaLoss",
    "MetaTrainer",
    "NormalizedHebb",
    "Objective",
    "Oja",
    "OnlineLearner",
    "PlasticModule",
    "PlasticityRule",
    "Polynomial",
    "RandomDirect",
    "RandomFeedback",
    "RuleFileError",
    "Site",
    "StableOja",
    "Stack",
    "StreamSpec",
    "Tape",
    "TaskStream",
    "TrainerConfig",
    "Unroll",
    "angles",
    "cite",
    "credit",
    "few_shot",
    "from_pretrained",
    "gradients",
    "grow",
    "interference",
    "make_optimizer",
    "make_schedule",
    "objective_for",
    "over_lifetime",
    "report_of",
    "rules",
    "save_pretrained",
    "shipped",
]  # fmt: skip
