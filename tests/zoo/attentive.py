"""Attention by hand and by torch: one network for each kind that the libraries have."""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tests.zoo.entry import Entry, images, integers


class Conv1D(nn.Module):
    """GPT-2's own matrix, `inputs outputs`."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(inputs, outputs) * inputs**-0.5)
        self.bias = nn.Parameter(torch.zeros(outputs))

    def forward(self, x: Tensor) -> Tensor:
        size = (*x.shape[:-1], self.weight.shape[1])
        return torch.addmm(self.bias, x.view(-1, x.shape[-1]), self.weight).view(size)


def heads(x: Tensor, n: int) -> Tensor:
    return x.unflatten(-1, (n, -1)).transpose(-2, -3)


class Block(nn.Module):
    """Packed attention and a layer for each token; `linear` makes the matrices."""

    def __init__(self, width: int, causal: bool, linear: Any = nn.Linear) -> None:
        super().__init__()
        self.before, self.after = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.out = linear(width, 3 * width), linear(width, width)
        self.one, self.two, self.causal = linear(width, 2 * width), linear(2 * width, width), causal

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = (heads(part, 2) for part in self.qkv(self.before(x)).chunk(3, -1))
        mixed = F.scaled_dot_product_attention(q, k, v, is_causal=self.causal)
        x = x + self.out(mixed.transpose(-2, -3).flatten(-2))
        return x + self.two(F.gelu(self.one(self.after(x)), approximate="tanh"))


class ViT(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.patches, self.place = nn.Conv2d(3, 8, 4, 4), nn.Parameter(torch.randn(1, 5, 8))
        self.kind, self.head = nn.Parameter(torch.randn(1, 1, 8)), nn.Linear(8, 4)
        self.blocks = nn.Sequential(Block(8, False), Block(8, False))

    def forward(self, x: Tensor) -> Tensor:
        tokens = self.patches(x).flatten(2).transpose(1, 2)
        tokens = torch.cat([self.kind.expand(len(x), -1, -1), tokens], 1) + self.place
        return self.head(self.blocks(tokens)[:, 0])


class GPT(nn.Module):
    """Causal, own matrices, and one matrix both to embed and to read out."""

    def __init__(self) -> None:
        super().__init__()
        self.embed, self.place = nn.Embedding(11, 8), nn.Embedding(6, 8)
        self.blocks = nn.Sequential(Block(8, True, Conv1D), Block(8, True, Conv1D))
        self.norm, self.head = nn.LayerNorm(8), nn.Linear(8, 11, bias=False)
        self.head.weight = self.embed.weight

    def forward(self, ids: Tensor) -> Tensor:
        x = self.embed(ids) + self.place(torch.arange(ids.shape[1]))
        return self.head(self.norm(self.blocks(x)))


class BERT(nn.Module):
    """Three projections, a mask by keyword, norms behind the sums, a pooler."""

    def __init__(self) -> None:
        super().__init__()
        self.words, self.kinds = nn.Embedding(11, 8, padding_idx=0), nn.Embedding(2, 8)
        self.q, self.k, self.v, self.out = (nn.Linear(8, 8) for _ in range(4))
        self.one, self.two, self.pool = nn.Linear(8, 16), nn.Linear(16, 8), nn.Linear(8, 8)
        self.norms, self.head = nn.ModuleList(nn.LayerNorm(8) for _ in "123"), nn.Linear(8, 4)

    def forward(self, *, ids: Tensor, kinds: Tensor, mask: Tensor) -> dict[str, Tensor]:
        x = self.norms[0](self.words(ids) + self.kinds(kinds))
        q, k, v = heads(self.q(x), 2), heads(self.k(x), 2), heads(self.v(x), 2)
        scores = q @ k.mT / 2 + (1 - mask[:, None, None]) * -1e4
        mixed = (scores.softmax(-1) @ v).transpose(1, 2).flatten(2)
        x = self.norms[1](x + self.out(mixed))
        x = self.norms[2](x + self.two(F.gelu(self.one(x))))
        return {"logits": self.head(self.pool(x[:, 0]).tanh()), "hidden": x}


class Llama(nn.Module):
    """Turned queries and keys, fewer keys than queries, gated layers, root mean squares."""

    def __init__(self) -> None:
        super().__init__()
        self.embed, self.head = nn.Embedding(11, 8), nn.Linear(8, 11, bias=False)
        for name, outputs in (("q", 8), ("k", 4), ("v", 4), ("o", 8), ("gate", 12), ("up", 12)):
            setattr(self, name, nn.Linear(8, outputs, bias=False))
        self.down = nn.Linear(12, 8, bias=False)
        self.norms = nn.ModuleList(nn.RMSNorm(8) for _ in "123")

    def forward(self, ids: Tensor) -> Tensor:
        x = self.embed(ids)
        angles = torch.arange(ids.shape[1])[:, None] / torch.tensor([1.0, 10.0])
        turn = torch.polar(torch.ones_like(angles), angles).to(torch.complex128)

        def turned(x: Tensor) -> Tensor:
            pairs = torch.view_as_complex(x.unflatten(-1, (-1, 2)).contiguous())
            return torch.view_as_real(pairs * turn).flatten(-2)

        h = self.norms[0](x)
        q, k = turned(heads(self.q(h), 2)), turned(heads(self.k(h), 1)).expand(-1, 2, -1, -1)
        v = heads(self.v(h), 1).repeat_interleave(2, 1)
        mixed = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.o(mixed.transpose(1, 2).flatten(2))
        h = self.norms[1](x)
        return self.head(self.norms[2](x + self.down(F.silu(self.gate(h)) * self.up(h))))


class Mixer(nn.Module):
    """MLP-Mixer: layers over tokens, then over channels."""

    def __init__(self) -> None:
        super().__init__()
        self.patches, self.head = nn.Conv2d(3, 8, 4, 4), nn.Linear(8, 4)
        self.norms = nn.ModuleList(nn.LayerNorm(8) for _ in "12")
        self.tokens = nn.Sequential(nn.Linear(4, 6), nn.GELU(), nn.Linear(6, 4))
        self.channels = nn.Sequential(nn.Linear(8, 12), nn.GELU(), nn.Linear(12, 8))

    def forward(self, x: Tensor) -> Tensor:
        x = self.patches(x).flatten(2).transpose(1, 2)
        x = x + self.tokens(self.norms[0](x).transpose(1, 2)).transpose(1, 2)
        return self.head((x + self.channels(self.norms[1](x))).mean(1))


class Encoder(nn.Module):
    """torch's own layers between an embedding and a readout."""

    def __init__(self, batch_first: bool, norm_first: bool, crossed: bool = False) -> None:
        super().__init__()
        options = {"dropout": 0.0, "batch_first": batch_first, "norm_first": norm_first}
        kind = nn.TransformerDecoderLayer if crossed else nn.TransformerEncoderLayer
        self.layers = nn.ModuleList(kind(8, 2, 16, **options) for _ in "12")
        self.embed, self.head = nn.Embedding(11, 8), nn.Linear(8, 11)
        self.turn, self.crossed = not batch_first, crossed

    def forward(self, ids: Tensor) -> Tensor:
        memory = x = self.embed(ids.T if self.turn else ids)
        for layer in self.layers:
            x = layer(x, memory.flip(-1)) if self.crossed else layer(x)
        x = self.head(x)
        return x.transpose(0, 1) if self.turn else x


class Attends(nn.Module):
    """`nn.MultiheadAttention` between two sequences, with any of its options."""

    def __init__(self, **options: Any) -> None:
        super().__init__()
        self.attend = nn.MultiheadAttention(8, 2, **options)
        self.turn, self.head = not self.attend.batch_first, nn.Linear(8, 4)

    def forward(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        given = [t.transpose(0, 1) for t in (q, k, v)] if self.turn else [q, k, v]
        mixed, weights = self.attend(*given)
        return self.head(mixed.mean(0 if self.turn else 1)) * (1 + weights.square().mean())


IDS, PICTURES = integers(10, 3, 5) + 1, images(3, 3, 8, 8)
MASKED = {"ids": IDS, "kinds": IDS % 2, "mask": (torch.arange(5) < 4).double().expand(3, 5)}
ENTRIES = [
    Entry("ViT by hand", ViT, integers(4, 3), (PICTURES,)),
    Entry("GPT-2 by hand", GPT, IDS.roll(-1, 1), (IDS,)),
    Entry("BERT by hand", BERT, integers(4, 3), kwargs=MASKED,
        loss=lambda out, y: F.cross_entropy(out["logits"], y)),
    Entry("Llama by hand", Llama, IDS.roll(-1, 1), (IDS,)),
    Entry("MLP-Mixer by hand", Mixer, integers(4, 3), (PICTURES,)),
    *(Entry(f"encoder layer, {'batch' if b else 'steps'} first, norm {'first' if n else 'last'}",
        partial(Encoder, b, n), IDS.roll(-1, 1), (IDS,))
        for b in (True, False) for n in (True, False)),
    Entry("decoder layer", partial(Encoder, True, True, True), IDS.roll(-1, 1), (IDS,)),
    *(Entry(f"attention, {name}", partial(Attends, **options), integers(4, 3),
        (images(3, 5, 8), images(3, 4, keys, seed=1), images(3, 4, values, seed=2)))
        for name, keys, values, options in (
            ("packed", 8, 8, {"batch_first": True}),
            ("own widths of keys and values", 6, 7, {"kdim": 6, "vdim": 7, "batch_first": True}),
            ("steps first, no bias", 8, 8, {"bias": False}),
            ("extra keys", 8, 8, {"add_bias_kv": True, "add_zero_attn": True}),
        )),
]  # fmt: skip
