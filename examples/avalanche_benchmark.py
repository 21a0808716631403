"""A local rule in a benchmark of Avalanche: python examples/avalanche_benchmark.py [rule]"""

import sys
import warnings

import torch
from torch import nn

from metaplastic import PlasticModule
from metaplastic.online.avalanche_strategy import OnlineStrategy
from tasks.avalanche_benchmark import to_benchmark
from tasks.clusters import Clusters

rule = sys.argv[1] if sys.argv[1:] else "kolen_pollack"
torch.manual_seed(0)
warnings.showwarning = lambda *_: None  # Avalanche's own, of names that its next version drops

# Ten classes of vectors, one class an experience. Put a benchmark of Avalanche's here.
stream = Clusters(ways=10, shots=30, order="by_class", nuisance=0.5)
benchmark = to_benchmark(stream.sample(1, torch.Generator().manual_seed(0)))

from avalanche.evaluation.metrics import accuracy_metrics, forgetting_metrics  # noqa: E402
from avalanche.training.plugins import EvaluationPlugin, ReplayPlugin  # noqa: E402

evaluator = EvaluationPlugin(
    accuracy_metrics(stream=True), forgetting_metrics(stream=True), loggers=[]
)
model = nn.Sequential(nn.Linear(32, 100), nn.ReLU(), nn.Linear(100, 10))
net = PlasticModule(model, rule, example=torch.zeros(1, 32), rate=0.05)
strategy = OnlineStrategy(
    net, evaluator=evaluator, plugins=[ReplayPlugin(mem_size=50)], train_mb_size=2
)
for experience in benchmark.train_stream:
    strategy.train(experience)
    found = {name.partition("/")[0]: v for name, v in strategy.eval(benchmark.test_stream).items()}
    print({name: round(value, 3) for name, value in found.items()})
print(f"{rule} with replay: accuracy {found['Top1_Acc_Stream']:.2f}, chance 0.10")
