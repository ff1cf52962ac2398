"""A GGUF file is unpacked once into a checkpoint that answers as before, and can be trained and saved."""

from pathlib import Path

import pytest

pytest.importorskip("transformers", reason="needs the extra train")
gguf = pytest.importorskip("gguf", reason="needs the extra train")

from step_envs.agents.local.checkpoint import checkpoint_folder, load_tokenizer
from step_envs.errors import DataError

pytestmark = pytest.mark.train

WIDTH, LAYERS, HEADS, INNER = 32, 2, 4, 64


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A llama of random weights with a byte-level vocabulary, written by the package that llama.cpp's tools use."""
    import numpy as np
    from tokenizers.pre_tokenizers import ByteLevel

    path = tmp_path_factory.mktemp("gguf") / "small.gguf"
    tokens = ["<|endoftext|>", *sorted(ByteLevel.alphabet()), "he", "ll", "hell", "hello"]
    rng, writer = np.random.default_rng(0), gguf.GGUFWriter(str(path), "llama")
    writer.add_context_length(128)
    writer.add_embedding_length(WIDTH)
    writer.add_block_count(LAYERS)
    writer.add_feed_forward_length(INNER)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(HEADS)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_vocab_size(len(tokens))
    writer.add_tokenizer_model("gpt2")
    writer.add_token_list(tokens)
    writer.add_token_types([3, *[1] * (len(tokens) - 1)])
    writer.add_token_merges(["h e", "l l", "he ll", "hell o"])
    writer.add_bos_token_id(0)
    writer.add_eos_token_id(0)

    def add(name: str, *shape: int) -> None:
        writer.add_tensor(name, rng.normal(0, 0.3, shape).astype(np.float32))

    add("token_embd.weight", len(tokens), WIDTH)
    add("output_norm.weight", WIDTH)
    for layer in range(LAYERS):
        for part, shape in {
            "attn_norm": (WIDTH,),
            "ffn_norm": (WIDTH,),
            "attn_q": (WIDTH, WIDTH),
            "attn_k": (WIDTH, WIDTH),
            "attn_v": (WIDTH, WIDTH),
            "attn_output": (WIDTH, WIDTH),
            "ffn_gate": (INNER, WIDTH),
            "ffn_up": (INNER, WIDTH),
            "ffn_down": (WIDTH, INNER),
        }.items():
            add(f"blk.{layer}.{part}.weight", *shape)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def test_it_becomes_a_checkpoint_that_can_be_trained_and_saved(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch
    from transformers import AutoModelForCausalLM

    monkeypatch.setenv("STEP_ENVS_CACHE", str(tmp_path))
    folder = checkpoint_folder(file)
    assert folder.is_relative_to(tmp_path) and folder.name.startswith("small-")
    model = AutoModelForCausalLM.from_pretrained(str(folder))
    direct = AutoModelForCausalLM.from_pretrained(str(file.parent), gguf_file=file.name, dtype=torch.float32)
    tokenizer = load_tokenizer(file)
    ids = tokenizer("hello hello", return_tensors="pt")["input_ids"]
    assert tokenizer.convert_ids_to_tokens(ids[0])[0] == "hello"
    with torch.no_grad():
        assert torch.allclose(model(ids).logits, direct(ids).logits, atol=1e-5)
    assert getattr(model.config, "quantization_config", None) is None
    model(ids, labels=ids).loss.backward()
    model.save_pretrained(str(tmp_path / "saved"))
    assert (tmp_path / "saved" / "model.safetensors").exists()


def test_it_is_unpacked_once(file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STEP_ENVS_CACHE", str(tmp_path))
    folder = checkpoint_folder(file)
    before = (folder / "model.safetensors").stat().st_mtime_ns
    copy = tmp_path / "elsewhere" / "small.gguf"
    copy.parent.mkdir()
    copy.write_bytes(file.read_bytes())
    assert checkpoint_folder(copy) == folder
    assert (folder / "model.safetensors").stat().st_mtime_ns == before
    assert [one.name for one in folder.parent.iterdir()] == [folder.name]


def test_a_file_that_is_none_or_was_cut_is_one_sentence(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STEP_ENVS_CACHE", str(tmp_path / "cache"))
    page, cut = tmp_path / "page.gguf", tmp_path / "cut.gguf"
    page.write_text("<html>not found</html>")
    with pytest.raises(DataError, match=r"page\.gguf is no GGUF file, or it was not fetched whole: fetch it again\."):
        checkpoint_folder(page)
    cut.write_bytes(file.read_bytes()[:6000])
    with pytest.raises(DataError, match=r"transformers cannot read .*cut\.gguf: "):
        checkpoint_folder(cut)
    assert not list((tmp_path / "cache" / "gguf").iterdir())
