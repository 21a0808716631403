"""Names of sites, and the modules of a model that are not looked into."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from torch import nn

REFUSED: dict[type[nn.Module], str] = {
    nn.RNNBase: "its recurrent weights are inside one kernel",
}


def bare(model: nn.Module) -> nn.Module:
    """The user's own module inside DistributedDataParallel or a compiled wrapper."""
    while True:
        inside = getattr(model, "_orig_mod", None)
        if inside is None and isinstance(
            model, nn.parallel.DistributedDataParallel | nn.DataParallel
        ):
            inside = model.module
        if inside is None:
            return model
        model = inside


def site_name(parameter: str) -> str:
    """The module's name where its parameter is called `weight`, else the parameter's own."""
    if parameter == "weight":
        return ""
    return parameter.removesuffix(".weight")


def derived_site(parameters: Sequence[str]) -> str:
    """The name of a weight that is computed from several parameters: of what they share."""
    heads = [name.partition(".parametrizations.") for name in parameters]
    if all(tail for _, _, tail in heads) and len({head for head, _, _ in heads}) == 1:
        kind = heads[0][2].split(".")[0]
        return site_name(f"{heads[0][0]}.{kind}")
    alone = [name for name in parameters if name.startswith("parametrizations.")]
    if len(alone) == len(parameters):
        return site_name(alone[0].split(".")[1])
    if len(parameters) == 1:
        return site_name(parameters[0])
    modules = [name.split(".")[:-1] for name in parameters]
    shared = []
    for parts in zip(*modules, strict=False):
        if len(set(parts)) > 1:
            break
        shared.append(parts[0])
    return ".".join(shared) if shared else site_name(parameters[0])


def shared_names(model: nn.Module) -> dict[str, str]:
    """Every name of a parameter -> the first name of the same one."""
    first: dict[int, str] = {}
    found = {}
    for name, parameter in model.named_parameters(remove_duplicate=False):
        found[name] = first.setdefault(id(parameter), name)
    return found


def left_out(model: nn.Module, leave: Collection[str]) -> tuple[str, ...]:
    """The prefixes of parameters that keep their exact gradient.

    Raises:
        ValueError: for a name that is not in the model, a kernel that hides its weights, and a
            lazy weight.
    """
    leave = set(leave)
    named = dict(model.named_modules(remove_duplicate=False))
    if unknown := sorted(leave - set(named)):
        raise ValueError(
            f"leave names {unknown!r}, which is no module of this model. "
            f"Its modules are {', '.join(name for name in named if name)}."
        )
    skipped = tuple(name + "." for name in leave)
    for name, module in named.items():
        if name in leave or name.startswith(skipped):
            continue
        for kind, reason in REFUSED.items():
            if isinstance(module, kind):
                raise ValueError(
                    f"Module {name!r} is a {type(module).__name__}: {reason}, so no error can be "
                    f"rerouted there. Pass leave=[{name!r}] to give it its exact gradient, or use "
                    "the cells, nn.GRUCell and nn.LSTMCell, step by step."
                )
        for parameter in module._parameters.values():
            if isinstance(parameter, nn.parameter.UninitializedParameter):
                raise ValueError(
                    f"Site {name!r} is lazy and has no weight yet; run the model once first."
                )
    return skipped
