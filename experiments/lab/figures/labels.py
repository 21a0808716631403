"""Names of methods and options for people: what figures show, where tables have what is typed."""

from __future__ import annotations

METHODS = {
    "anml": "ANML",
    "flp": "FLP, published form",
    "flp_frozen": "FLP, nothing plastic",
    "flp_no_feedback": "FLP, no feedback to hidden layers",
    "flp_on_frozen": "FLP on a frozen encoder",
    "flp_random_feedback": "FLP, random feedback",
    "flp_readout": "readout-only plasticity",
    "flp_stable": "FLP",
    "flp_true_gradient": "FLP, gradient as the signal",
    "maml": "MAML",
    "maml_rep": "MAML-Rep",
    "oml": "OML",
    "oml_first_order": "OML, first order",
    "oml_one_layer": "OML, readout-only plasticity",
    "polynomial": "polynomial rule",
    "pretrained": "pretrained encoder, SGD",
    "pretrained_readout": "pretrained encoder, plastic readout",
    "prototypes": "prototypes, distance",
    "prototypes_cosine": "prototypes, cosine",
    "sbmcl": "sequential Bayes (SB-MCL)",
    "scratch": "SGD from random weights",
}
OPTIONS = {
    "hidden": "hidden rate {}", "feedback": "{} feedback", "plastic": "plastic layers: {}",
    "plasticity": "{}", "nonlinearity": "{} feedback units", "gate": "gate {}",
    "channels": "channels {}", "strides": "strides {}", "teaching": "teaching signal {}",
    "per": "a rate per {}", "rate": "rate {}",
}  # fmt: skip


def readable(label: str) -> str:
    """`flp_stable,hidden=1e-5,feedback=random` as `FLP (hidden rate 1e-5, random feedback)`.

    A label that names no method is returned with spaces in the place of underscores.
    """
    name, *words = label.replace(" ", ",").split(",")
    options: list[str] = []
    for word in words:  # of a value that is a list every item but the first stands alone
        if "=" in word or not options:
            options.append(word)
        else:
            options[-1] += f", {word}"
    if name not in METHODS or any("=" not in option for option in options if option):
        return label.replace("_", " ")
    texts = []
    for option in filter(None, options):
        key, _, value = option.partition("=")
        texts.append(OPTIONS.get(key, f"{key} {{}}").format(value).replace("_", " "))
    return METHODS[name] + (f" ({', '.join(texts)})" if texts else "")
