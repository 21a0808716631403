"""metaplastic: networks that learn how to learn locally.

An outer loop meta-trains feedback connections, initial weights and plasticity coefficients; an
inner loop adapts a network in one online pass of a local rule, without gradients. Start
from `OnlineLearner`.
"""

from metaplastic import _moved
from metaplastic.episode import Episode, StreamSpec, TaskStream
from metaplastic.evaluate.evaluation import few_shot, over_lifetime
from metaplastic.evaluate.few_shot_report import FewShotReport
from metaplastic.evaluate.interference import interference
from metaplastic.evaluate.interference_matrix import Interference
from metaplastic.evaluate.report import ContinualReport
from metaplastic.evaluate.report_from_matrix import report_from_matrix
from metaplastic.files.rule_file import RuleFileError, from_pretrained, save_pretrained
from metaplastic.inner.grow import grow
from metaplastic.inner.initialization import Initialization
from metaplastic.inner.learner import OnlineLearner
from metaplastic.inner.meta_loss import MetaLoss
from metaplastic.inner.unroll import Unroll
from metaplastic.objective import CrossEntropy, MeanSquaredError, Objective, objective_for
from metaplastic.online.credit import Credit, credit
from metaplastic.online.credit_angles import angles
from metaplastic.online.credit_exact import gradients
from metaplastic.online.credit_log import AngleLog
from metaplastic.online.plastic_module import PlasticModule
from metaplastic.outer.checkpoint import CheckpointError
from metaplastic.outer.divergence import DivergenceError
from metaplastic.outer.loggers import JsonLines
from metaplastic.outer.optimizer import make_optimizer, make_schedule
from metaplastic.outer.trainer import MetaTrainer
from metaplastic.outer.trainer_config import TrainerConfig
from metaplastic.pathways.base import FeedbackPathway
from metaplastic.pathways.carried_back import Backprop
from metaplastic.pathways.direct import Direct
from metaplastic.pathways.direct_random import RandomDirect
from metaplastic.pathways.sequential import RandomFeedback
from metaplastic.plasticity.base import PlasticityRule
from metaplastic.plasticity.delta import Delta
from metaplastic.plasticity.hebb import Hebb
from metaplastic.plasticity.normalized_hebb import NormalizedHebb
from metaplastic.plasticity.oja import Oja, StableOja
from metaplastic.plasticity.polynomial import Polynomial
from metaplastic.rules import cite, rules
from metaplastic.rules.credit_rule import CreditRule
from metaplastic.rules.learning_rule import LearningRule
from metaplastic.stacked.site import Site
from metaplastic.stacked.stack import FastWeights, Stack, Tape
from metaplastic.support.catalog import shipped
from metaplastic.support.renamed import former_names

_moved.install()
__getattr__ = former_names(globals(), Birth="Initialization", report_of="report_from_matrix")

__version__ = "0.1.0"
__all__ = [
    "AngleLog",
    "Backprop",
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
    "Initialization",
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
    "report_from_matrix",
    "rules",
    "save_pretrained",
    "shipped",
]  # fmt: skip
