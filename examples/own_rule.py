"""Write a plasticity rule and meta-learn its rates: python examples/own_rule.py [steps]"""

import sys

from torch import Tensor, nn

import metaplastic as mp
from tasks.sines import Sines


class Forgetful(mp.PlasticityRule):
    """The delta rule divided by the power of its input, and a little forgetting."""

    def delta(
        self, weight: Tensor, pre: Tensor, post: Tensor, signal: Tensor, rate: Tensor
    ) -> Tensor:
        power = 1 + pre.square().sum(-1).mean(1)[:, None, None]
        return rate * (signal.mT @ pre / power - 1e-4 * weight)


steps = int(sys.argv[1]) if len(sys.argv) > 1 else 300
stream = Sines(steps_per_function=5)
spec = stream.spec
network = nn.Sequential(nn.Linear(*spec.input_shape, 128), nn.ReLU(), nn.Linear(128, spec.outputs))
rule = mp.LearningRule(mp.Direct(teaching="error", strength=1.0), Forgetful(rate=0.3, scale="log"))
learner = mp.OnlineLearner(network, rule, mp.objective_for(spec), plastic=1)
config = mp.TrainerConfig(steps=steps, tasks=8)
mp.MetaTrainer(
    learner, stream, mp.make_optimizer(learner, {"weights": 2e-3, "plasticity": 3e-2}), config
).fit()
report = mp.over_lifetime(learner, Sines(split="test", steps_per_function=5), lifetimes=20)
print(f"error over ten sines after one pass: {report.on_all('error').mean[-1]:.3f}")
