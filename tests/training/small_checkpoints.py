"""What tests of training share: a small checkpoint with random weights, and a training that stops midway."""

import pytest

torch = pytest.importorskip("torch", reason="needs the extra train")
transformers = pytest.importorskip("transformers", reason="needs the extra train")


def save_checkpoint(tokenizer, folder, **sizes):
    """Save a small Llama with the tokenizer; the same one for the same sizes."""
    torch.manual_seed(0)
    usual = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 1, "num_attention_heads": 2}
    config = transformers.LlamaConfig(vocab_size=len(tokenizer), **(usual | sizes))
    transformers.LlamaForCausalLM(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


class Stop(transformers.TrainerCallback):
    """Stops a training behind a step, as Ctrl-C does."""

    def __init__(self, step):
        self.step = step

    def on_step_end(self, args, state, control, **kwargs):
        if state.global_step == self.step:
            raise KeyboardInterrupt
