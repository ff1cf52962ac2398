"""Whether documents packed into one row stay apart: tried out on the model itself, not believed."""

from typing import Any

from step_envs.errors import DataError

_TOLERANCE = 1e-3  # logits of the same tokens, computed in float32 by different kernels


def refuse_mixing_attention(model: Any) -> None:
    """See that a document gives the same logits behind another one in a row as it gives alone.

    Args:
        model: A causal language model of transformers.

    Raises:
        DataError: It does not: this model's attention, or state, reaches across documents.
    """
    import torch

    training = model.training
    model.eval()
    generator = torch.Generator().manual_seed(0)
    size = model.get_input_embeddings().weight.shape[0]
    one, two = (torch.randint(size, (1, length), generator=generator).to(model.device) for length in (7, 5))
    packed = torch.cat([one, two], dim=1)
    positions = torch.cat([torch.arange(7), torch.arange(5)])[None].to(model.device)
    with torch.no_grad():
        together = model(input_ids=packed, position_ids=positions, use_cache=False).logits[:, 7:].float()
        alone = model(input_ids=two, use_cache=False).logits.float()
    model.train(training)
    difference = (together - alone).abs().max().item()
    scale = max(alone.abs().max().item(), 1.0)
    bound = _TOLERANCE if model.dtype == torch.float32 else 0.05
    if difference > bound * scale:
        raise DataError(
            f"Packed documents would see each other in this model (logits differ by {difference:.2g}): train with "
            "packing=False."
        )
