"""Learn characters one at a time on a frozen encoder: python examples/learn_online.py"""

import torch

from metaplastic import from_pretrained, grow
from tasks.data import DataError
from tasks.glyphs import Glyphs
from tasks.split_omniglot import SplitOmniglot

CHARACTERS = 20
shape = {"ways": CHARACTERS, "slots": None, "shots": 15, "queries_per_class": 5}
held = {"support_instances": (0, 15), "query_instances": (15, 20)}
once = torch.Generator().manual_seed(0)
try:
    episode = SplitOmniglot(split="test", **shape, **held).sample(1, once)
except DataError:  # no data folder and no download: characters that nobody writes
    episode = Glyphs(split="test", **shape).sample(1, once)

learner = grow(from_pretrained("omniglot_readout"), CHARACTERS).eval()
with torch.no_grad():
    images, queries = learner.encode_episodes(episode)
    fast = learner.initialize(episode.support_y, episode.seed)
    for start in range(0, images.shape[1], 60):  # four characters, one image a step
        now = slice(start, start + 60)
        fast = learner.adapt(images[:, now], episode.support_y[:, now], fast)
        known = episode.query_subtask < (start + 60) // 15
        right = learner.predict(fast, queries).argmax(-1) == episode.query_y
        print(f"{(start + 60) // 15} characters learned, {right[known].float().mean():.1%} right")
