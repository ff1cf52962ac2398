"""Check that documents packed into one row do not see each other, by trying it out on the model itself.

Whether a model separates packed documents depends on its architecture, its attention kernel and its version, and a list of
models that do would soon be wrong. So two documents are run through the model, packed and alone, and the logits compared.
"""

from typing import Any

from step_envs.errors import DataError

_TOLERANCE = 1e-3  # different kernels compute the same logits in float32 up to this relative difference


def refuse_mixing_attention(model: Any) -> None:
    """Raise an error if a document behind another one in a row gets other logits than the document alone.

    Args:
        model: A causal language model of transformers.

    Raises:
        DataError: This model's attention, or state, reaches across documents.
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
