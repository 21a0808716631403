"""Train a residual network by a named rule: python examples/resnet_by_rule.py [rule steps]"""

import sys

import torch
import torch.nn.functional as F

import metaplastic
from experiments.lab.networks.residual import residual

rule, steps = sys.argv[1:] or ("symmetric_alignment", 100)
torch.manual_seed(0)
model = residual(classes=4, depth=8, width=8)

# Images to try it on: four patterns of stripes in noise. Put your own data here.
way = torch.arange(12)
stripes = torch.stack([(way * k).sin().expand(12, 12) for k in (1.0, 2.0)])
patterns = torch.cat([stripes, stripes.mT])


def draw(count: int) -> tuple[torch.Tensor, torch.Tensor]:
    y = torch.randint(4, (count,))
    return patterns[y][:, None] + torch.randn(count, 3, 12, 12), y


x, y = draw(64)
credit = metaplastic.credit(rule, model, example=x)
opt = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
for step in range(int(steps)):
    x, y = draw(64)
    opt.zero_grad()
    loss = credit.backward(model, x, y, F.cross_entropy)
    opt.step()
    if step % 20 == 19:
        seen = metaplastic.angles(credit, model, x, y, F.cross_entropy)
        turned = sum(site.delta for site in seen.values()) / len(seen)
        print(f"step {step + 1}: loss {loss:.3f}, {turned:.0f} degrees from backprop's errors")
x, y = draw(500)
print(f"{rule}: accuracy {(model(x).argmax(1) == y).float().mean():.3f}, chance 0.25")
