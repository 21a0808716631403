"""The sites of a module, found by running it once on an example, and what no rule reaches."""

from __future__ import annotations

import warnings
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from zlib import crc32

import torch
from torch import Tensor, nn

from metaplastic.sites.handlers import HANDLERS, OPAQUE, PRODUCTS
from metaplastic.sites.names import derived_site, left_out, shared_names, site_name
from metaplastic.sites.operations import Operation
from metaplastic.sites.outputs import Output, call, pick, tensors_in
from metaplastic.sites.products import VIEWS, Handler, Product, Products, Source

HARMLESS = frozenset(
    (
        "embedding embedding_bag add add_ sub rsub mul "
        "mul_ div cat stack concat where expand "
        "expand_as repeat layer_norm group_norm batch_norm instance_norm rms_norm "
        "native_layer_norm __add__ __radd__ __iadd__ __mul__ __rmul__ __imul__ "
        "__sub__ __rsub__ __truediv__ __rtruediv__ index_select gather lerp "
        "addcmul broadcast_tensors broadcast_to roll prelu interpolate pad "
        "__setitem__ copy_ to type type_as float double "
        "half bfloat16 size dim numel stride is_contiguous "
    ).split()  # noqa: SIM905, as words they can be read
)
"""Functions through which an error reaches no other unit by way of a weight's transpose."""


class UnreachedWarning(UserWarning):
    """A trainable weight that no rule reaches: it keeps its exact gradient, or gets none."""


@dataclass
class Met:
    """One product of the example's pass: which site, how, and what it met."""

    source: Source
    operation: Operation
    input: torch.Size
    output: torch.Size
    batch_axis: int = 0

    @property
    def examples_first(self) -> torch.Size:
        """The shape of the input with examples as its first axis."""
        shape = list(self.input)
        return torch.Size([shape.pop(self.batch_axis), *shape])

    @property
    def site(self) -> str:
        """Whose product it is."""
        assert self.source.site is not None
        return self.source.site

    def silent(self, number: int, weight: Tensor) -> Product:
        """The product as noise meets it: with the shape of its input, and without a value."""
        x = torch.empty(self.input, device="meta")
        return Product(
            number, self.source, self.operation, x, weight, _never, batch_axis=self.batch_axis
        )


@dataclass
class Sites:
    """What was found. Sites are named by their module, or by their parameter where it is not
    called `weight`; in the order in which the example met them."""

    owners: dict[str, str] = field(default_factory=dict)  # every name -> first of the same weight
    parameters: dict[str, tuple[str, ...]] = field(default_factory=dict)  # site -> its parameters
    likes: dict[str, Tensor] = field(default_factory=dict)  # site -> its weight, detached
    biases: dict[str, str] = field(default_factory=dict)  # parameter -> site
    met: list[Met] = field(default_factory=list)
    frozen: list[str] = field(default_factory=list)
    unreached: dict[str, str] = field(default_factory=dict)  # parameter -> the reason
    derived: dict[str, str] = field(default_factory=dict)  # name of a computed weight -> site
    output: torch.Size = field(default_factory=torch.Size)

    @property
    def names(self) -> list[str]:
        """The sites, each once."""
        return list(self.likes)

    def is_derived(self, site: str) -> bool:
        """Whether its weight is computed from parameters, as by `weight_norm`."""
        return site in self.derived.values()

    def inputs(self, site: str) -> list[torch.Size]:
        """The shapes of what it met, product by product."""
        return [met.input for met in self.met if met.site == site]

    def __str__(self) -> str:
        lines = [
            f"{name}: {tuple(like.shape)}{', frozen' if name in self.frozen else ''}"
            for name, like in self.likes.items()
        ]
        lines += [f"{name}: out of reach, {why}" for name, why in self.unreached.items()]
        return "\n".join(lines)


class _Survey(Products):
    """Sees every function: what weights are made of, and where one enters anything unknown."""

    def __init__(self, sources: list[tuple[Tensor, Source]], found: Sites) -> None:
        super().__init__(sources, self._met, HANDLERS)
        self.found, self.uses = found, dict[str, set[str]]()
        self.blocked: set[str] = set()  # sites met under no_grad

    def _met(self, product: Product) -> Tensor:
        out = product.call(product.x)
        source, found = product.source, self.found
        if "#" in source.weight and source.weight not in found.derived:
            if any(site == product.site for site in found.derived.values()):
                # Another weight that is computed from the same parameters.
                count = sum(site.split(" #")[0] == product.site for site in found.likes)
                source = source._replace(site=f"{product.site} #{count + 1}")
                product.source = source
            found.derived[source.weight] = product.site
        elif "#" in source.weight:
            product.source = source = source._replace(site=found.derived[source.weight])
        if product.x.dim() < 2 and product.x.dim() < out.dim() + 1 and out.dim() < 2:
            raise ValueError(
                f"Site {product.site!r} was given one vector of {len(product.x)}; the first axis "
                "must be the batch: use example[None]."
            )
        if not torch.is_grad_enabled():
            self.blocked.add(source.weight)
            return out
        found.met.append(
            Met(product.source, product.operation, product.x.shape, out.shape, product.batch_axis)
        )
        if product.site not in found.likes:
            whole = product.whole
            found.likes[product.site] = whole.detach()
            found.parameters[product.site] = tuple(made_of(source.weight))
        if product.bias is not None:
            found.biases.setdefault(product.bias.weight, product.site)
        return out

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        if func in OPAQUE:
            return super().__torch_function__(func, types, args, kwargs)
        before = self.number
        given = tensors_in([args, kwargs])
        sources = [self.sources.get(id(t)) for t in given]
        out = super().__torch_function__(func, types, args, kwargs)
        if self.number > before or not any(sources) or not given:
            return out
        if all(sources):
            if func not in VIEWS and (made := tensors_in(out)):
                _derive(self, func, given, made)
            return out
        name = getattr(func, "__name__", str(func))
        for tensor, source in zip(given, sources, strict=True):
            if source is not None and source.site is not None and tensor.dim() > 1:
                for parameter in made_of(source.weight):
                    self.uses.setdefault(parameter, set()).add(name)
        return out


def _derive(mode: Products, func: Any, given: list[Tensor], made: list[Tensor]) -> None:
    """Know what was computed from parameters and buffers alone, by a name made of how.

    The same computation gets the same name in every pass.
    """
    parents: list[str] = []
    parameters: dict[str, None] = {}
    for tensor in given:
        source = mode.source(tensor)
        if source is None:
            return
        if not source.weight.startswith("buffer:"):
            parents.append("/".join([source.weight, *(view.name for view in source.views)]))
            parameters |= dict.fromkeys(made_of(source.weight))
    if not parents:
        return
    how = f"{getattr(func, '__name__', func)}({','.join(parents)})"
    for i, tensor in enumerate(made):
        if mode.source(tensor) is not None:
            continue  # a buffer that was written to is that buffer still
        name = f"{'+'.join(parameters)}#{crc32(f'{how}{i}'.encode()):08x}"
        if isinstance(mode, _Survey):
            site: str | None = derived_site(list(parameters))
        else:
            site = mode.sites.get(name)
        mode.keep(tensor, Source(name, site if tensor.dim() > 1 else None))


def made_of(weight: str) -> list[str]:
    """The parameters that a weight is computed from, by its name; itself, if it is one."""
    return weight.split("#")[0].split("+")


def derive(mode: Products, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Any function, where a site's weight is computed from parameters."""
    out = func(*args, **kwargs)
    if any(id(a) in mode.sources for a in args):
        _derive(mode, func, tensors_in([args, kwargs]), tensors_in(out))
    return out


def _derived_product(usual: Handler) -> Handler:
    """A product, which may be one of two weights, and then makes a weight."""

    def handler(mode: Products, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        before = mode.number
        out = usual(mode, func, args, kwargs)
        if mode.number == before:
            _derive(mode, func, tensors_in([args, kwargs]), tensors_in(out))
        return out

    return handler


DERIVING: dict[Any, Handler] = {
    **HANDLERS, **{func: _derived_product(usual) for func, usual in PRODUCTS.items()}
}  # fmt: skip


def sources_of(
    named: dict[str, Tensor], buffers: dict[str, Tensor], sites: dict[str, str]
) -> list[tuple[Tensor, Source]]:
    """Parameters and buffers as they are used in a pass; `sites` maps parameters to sites."""
    known = [(tensor, Source(name, sites.get(name))) for name, tensor in named.items()]
    return known + [(tensor, Source(f"buffer:{name}", None)) for name, tensor in buffers.items()]


def find_sites(
    model: nn.Module, example: Any, *, leave: Collection[str] = (), output: Output = None
) -> Sites:
    """Run the model once on an example, in eval mode, and find its sites.

    Args:
        example: a minibatch of inputs: a tensor, a tuple of several, or a dict of named ones.
        leave: modules that keep their exact gradient, by dotted name, with all that is in them.
        output: what of the output is learned from; see `outputs.pick`.

    Raises:
        ValueError: for a name in `leave` that is not in the model, a module whose weights are
            inside one kernel, a lazy weight, an example without a batch axis, no site at all.
    """
    skipped = left_out(model, leave)
    named = {name: p for name, p in model.named_parameters() if not name.startswith(skipped)}
    sites = {name: site_name(name) for name, p in named.items() if p.dim() > 1}
    everything = dict(model.named_parameters())
    found = Sites()
    mode = _Survey(sources_of(everything, dict(model.named_buffers()), sites), found)
    with as_in_use(model), torch.enable_grad():
        with mode:
            answer = call(model, example)
        picked = pick(answer, output)
        used = _used(picked, named)
    found.output = picked.shape
    if not found.likes:
        raise ValueError(
            f"This {type(model).__name__} has no product of an input with a weight of two axes"
            f"{' outside ' + ', '.join(sorted(leave)) if leave else ''}, so there is no site where "
            "an error could take another way; train it by backprop."
        )
    _name_unreached(found, mode, named, used)
    found.frozen = [
        s for s, ps in found.parameters.items() if not any(_trains(named, p) for p in ps)
    ]
    for name, first in shared_names(model).items():
        owner = sites.get(first)
        if owner in found.likes and not name.startswith(skipped):
            found.owners[site_name(name)] = owner
    found.owners = {
        n: o for o in found.likes for n in [o, *found.owners] if found.owners.get(n, n) == o
    }
    return found


def warn_of_unreached(found: Sites, model: nn.Module) -> None:
    """Name every trainable weight that no rule reaches, in one warning."""
    trainable = {name for name, p in model.named_parameters() if p.requires_grad}
    if lost := {name: why for name, why in found.unreached.items() if name in trainable}:
        listed = "; ".join(f"{name} ({why})" for name, why in lost.items())
        warnings.warn(
            f"No rule reaches {len(lost)} trainable weight{'s' if len(lost) > 1 else ''} of this "
            f"{type(model).__name__}: {listed}. Freeze them, name their modules in leave=, or hand "
            "in an example that uses them.",
            UnreachedWarning,
            stacklevel=4,
        )


def _trains(named: dict[str, nn.Parameter], name: str) -> bool:
    return name in named and named[name].requires_grad


def _used(output: Tensor, named: dict[str, nn.Parameter]) -> set[str] | None:
    """The trainable parameters that the output depends on; None where nobody can tell."""
    trainable = {name: p for name, p in named.items() if p.requires_grad}
    if not output.requires_grad or not trainable:
        return None
    try:
        found = torch.autograd.grad(output.sum(), list(trainable.values()), allow_unused=True)
    except RuntimeError:  # something was written over, which whoever learns from it will say
        return None
    return {name for name, g in zip(trainable, found, strict=True) if g is not None}


def _name_unreached(
    found: Sites, mode: _Survey, named: dict[str, nn.Parameter], used: set[str] | None
) -> None:
    at_sites = {name for names in found.parameters.values() for name in names}
    for name, parameter in named.items():
        odd = mode.uses.get(name, set()) - HARMLESS
        if parameter.dim() < 2 or (name in at_sites and not odd):
            continue
        if not parameter.requires_grad:
            found.unreached[name] = "frozen"
        elif name in mode.blocked:
            found.unreached[name] = "used under torch.no_grad() or detached"
        elif odd:
            found.unreached[name] = f"inside {', '.join(sorted(odd))}, for which there is no rule"
        elif used is not None and name not in used:
            found.unreached[name] = "never used on the example"
        elif name not in mode.uses:
            found.unreached[name] = "inside an operation that cannot be seen"


@contextmanager
def as_in_use(model: nn.Module) -> Iterator[None]:
    """In eval mode, with the state of random generators and modes put back afterwards."""
    training = {module: module.training for module in model.modules()}
    buffers = {name: buffer.clone() for name, buffer in model.named_buffers()}
    devices = sorted({p.device.index or 0 for p in model.parameters() if p.device.type == "cuda"})
    try:
        with torch.random.fork_rng(devices=devices):
            model.eval()
            yield
    finally:
        for module, was in training.items():
            module.training = was
        with torch.no_grad():
            for name, buffer in model.named_buffers():
                if name in buffers and not torch.equal(buffer, buffers[name]):
                    buffer.copy_(buffers[name])


def _never(x: Tensor) -> Tensor:
    raise RuntimeError("A product without a value cannot be called again.")
