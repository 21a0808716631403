"""Networks that read, from transformers, x-transformers and peft, made small."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from tests.zoo.entry import Entry, images, integers, of_classes

SMALL = {"hidden_size": 8, "num_hidden_layers": 2, "num_attention_heads": 2, "vocab_size": 11}


def in_float64(model: nn.Module, name: str) -> nn.Module:
    """With torch's root mean square norms in the place of those that compute in float32."""
    for module in list(model.modules()):
        for child, norm in list(module.named_children()):
            if type(norm).__name__ == name:
                ours = nn.RMSNorm(norm.weight.shape, norm.variance_epsilon)
                ours.weight = norm.weight
                setattr(module, child, ours)
    return model


def bert() -> nn.Module:
    from transformers import BertConfig, BertForSequenceClassification

    config = BertConfig(**SMALL, intermediate_size=16, hidden_dropout_prob=0.0, num_labels=4,
        attention_probs_dropout_prob=0.0, max_position_embeddings=8)  # fmt: skip
    return BertForSequenceClassification(config)


def masked_bert() -> nn.Module:
    from transformers import BertConfig, BertForMaskedLM

    config = BertConfig(**SMALL, intermediate_size=16, hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0, max_position_embeddings=8, tie_word_embeddings=True,
        attn_implementation="eager")  # fmt: skip
    return BertForMaskedLM(config)


def gpt2() -> nn.Module:
    from transformers import GPT2Config, GPT2LMHeadModel

    config = GPT2Config(vocab_size=11, n_positions=8, n_embd=8, n_layer=2, n_head=2, n_inner=16,
        resid_pdrop=0.0, embd_pdrop=0.0, attn_pdrop=0.0, use_cache=False,
        bos_token_id=0, eos_token_id=0)  # fmt: skip
    return GPT2LMHeadModel(config)


def llama() -> nn.Module:
    from transformers import LlamaConfig, LlamaForCausalLM

    config = LlamaConfig(**SMALL, intermediate_size=12, num_key_value_heads=1, use_cache=False,
        max_position_embeddings=8, pad_token_id=0, bos_token_id=1, eos_token_id=2)  # fmt: skip
    return in_float64(LlamaForCausalLM(config), "LlamaRMSNorm")


def wav2vec2() -> nn.Module:
    from transformers import Wav2Vec2Config, Wav2Vec2ForSequenceClassification

    config = Wav2Vec2Config(
        hidden_size=8, num_hidden_layers=1, num_attention_heads=2, intermediate_size=12,
        conv_dim=(6, 6), conv_stride=(3, 2), conv_kernel=(4, 3), num_conv_pos_embeddings=4,
        num_conv_pos_embedding_groups=2, classifier_proj_size=6, num_labels=4, layerdrop=0.0,
        hidden_dropout=0.0, activation_dropout=0.0, attention_dropout=0.0, feat_proj_dropout=0.0,
        final_dropout=0.0, apply_spec_augment=False, num_feat_extract_layers=2,
    )  # fmt: skip
    return Wav2Vec2ForSequenceClassification(config)


def x_decoder(**options: Any) -> nn.Module:
    from x_transformers import Decoder, TransformerWrapper

    # Without flash, the softmax is of float32 whatever its input.
    options = {"attn_dim_head": 8, "attn_flash": True, "verbose": False} | options
    layers = Decoder(dim=8, depth=2, heads=2, **options)
    return TransformerWrapper(num_tokens=11, max_seq_len=8, attn_layers=layers)


def lora(base: Any, *targets: str, **options: Any) -> nn.Module:
    from peft import LoraConfig, get_peft_model

    config = LoraConfig(r=2, lora_dropout=0.0, target_modules=list(targets), **options)
    return get_peft_model(base, config)


def lora_layers() -> nn.Module:
    return lora(nn.Sequential(nn.Linear(8, 8), nn.Tanh(), nn.Linear(8, 4)), "0", "2")


def lora_gpt2() -> nn.Module:
    return lora(gpt2(), "c_attn", "c_proj", fan_in_fan_out=True)


def first(output: Any, y: Tensor) -> Tensor:
    return of_classes(output[0] if isinstance(output, tuple) else output, y)


IDS = integers(10, 3, 5) + 1
NEXT, CLASSES = IDS.roll(-1, 1), integers(4, 3)
MASK = IDS.new_ones(3, 5).index_fill(1, IDS.new_tensor([4]), 0)
BERT = {"input_ids": IDS, "attention_mask": MASK, "token_type_ids": IDS % 2}
READ = {"input_ids": IDS}
ENTRIES = [
    Entry("BERT (transformers)", bert, CLASSES, kwargs=BERT, package="transformers"),
    Entry("BERT, tied and eager (transformers)", masked_bert, NEXT, kwargs=BERT,
        package="transformers"),
    Entry("GPT-2 (transformers)", gpt2, NEXT, kwargs=READ, package="transformers"),
    Entry("Llama (transformers)", llama, NEXT, kwargs=READ, package="transformers"),
    Entry("wav2vec 2 (transformers)", wav2vec2, CLASSES, kwargs={"input_values": images(3, 60)},
        package="transformers",
        unused={"wav2vec2.masked_spec_embed": "stands where the spectrum is masked; none is here"}),
    Entry("decoder (x-transformers)", x_decoder, NEXT, (IDS,), package="x_transformers",
        quiet=(DeprecationWarning,)),
    Entry("decoder, gated and turned (x-transformers)",
        lambda: x_decoder(ff_glu=True, rotary_pos_emb=True, attn_kv_heads=1), NEXT, (IDS,),
        package="x_transformers", quiet=(DeprecationWarning,)),
    Entry("adapter (peft)", lora_layers, CLASSES, (images(3, 8),), package="peft"),
    Entry("adapted GPT-2 (peft)", lora_gpt2, NEXT, kwargs=READ, package="peft",
        quiet=(FutureWarning,)),
]  # fmt: skip
