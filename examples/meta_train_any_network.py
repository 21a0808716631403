"""Meta-learn how a residual network learns: python examples/meta_train_any_network.py [steps]"""

import sys
import tempfile

import torch
from torch import nn

import metaplastic as mp
from metaplastic.alignment import Sleep
from tasks.sines import Sines


class Residual(nn.Sequential):
    def __init__(self, width: int) -> None:
        super().__init__(nn.Tanh(), nn.Linear(width, width), nn.LayerNorm(width), nn.Tanh())
        self.options = {"width": width}  # by which a rule file describes it

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + super().forward(x)


torch.manual_seed(0)
stream = Sines(functions=2, steps_per_function=5)
shape, outputs = stream.spec.input_shape, stream.spec.outputs
network = nn.Sequential(nn.Linear(*shape, 32), Residual(32), nn.Tanh(), nn.Linear(32, outputs))
plasticity = mp.Delta(rate=0.03, per="layer", scale="log")
rule = mp.LearningRule(mp.RandomFeedback(weights="redrawn"), plasticity, Sleep(at_start=10))
learner = mp.OnlineLearner(network, rule, mp.objective_for(stream.spec), input_shape=shape)
opt = mp.make_optimizer(learner, {"weights": 5e-3, "plasticity": 3e-2})
mp.MetaTrainer(learner, stream, opt, mp.TrainerConfig(int([*sys.argv, 150][1]), tasks=4)).fit()
report = mp.over_lifetime(learner, Sines(split="test", functions=2, steps_per_function=5), 20)
print(f"error on both functions after one pass: {report.on_all('error').mean[-1]:.2f}")
folder = mp.save_pretrained(learner, tempfile.mkdtemp())
x, y = torch.randn(2, 8, 5, 16)
found = mp.from_pretrained(folder, classes=[Residual]).rule
net = mp.PlasticModule(nn.TransformerEncoderLayer(16, 2, 32, batch_first=True), found, example=x)
losses = [(net(x), net.learn(y))[1] for _ in range(100)]
print(f"the rule in a transformer layer: loss {losses[0]:.1f}, after 100 steps {losses[-1]:.1f}")
