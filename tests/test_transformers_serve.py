"""A real server: ``transformers serve`` with a small checkpoint made here, for teacher and agent. Opt-in (-m serve).

The checkpoint says one thing as an agent and one as a teacher: its attention is switched off, so that what it writes
follows from the mark its chat template ends with.
"""

import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import own_world  # noqa: F401  (registers Coin-v0)
import pytest

from step_envs.collection.collector import collect
from step_envs.collection.config import CollectConfig
from step_envs.endpoint import ChatModel, Gateway
from step_envs.store import read_trajectories
from step_envs.wrappers.teachers.structured_output import VerdictFields, ask_for

pytestmark = [pytest.mark.serve, pytest.mark.slow]

REPLY = "Thought: I see what is here.\nAction: look"
VERDICT = '{"status": "ok", "error": null, "reason": null, "reflection": null, "corrected_action": null}'
TEMPLATE = (
    "{% for message in messages %}{{ '<|' + message['role'] + '|>' + message['content'] + '<|end|>' }}{% endfor %}"
    "{% if add_generation_prompt %}"
    "{{ '<|judge|>' if messages[0]['role'] == 'system' else '<|act|>' }}{% endif %}"
)


def make_checkpoint(folder: Path) -> None:
    torch = pytest.importorskip("torch")
    transformers = pytest.importorskip("transformers")
    tokenizers = pytest.importorskip("tokenizers")
    raw = tokenizers.Tokenizer(tokenizers.models.BPE())
    raw.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    raw.decoder = tokenizers.decoders.ByteLevel()
    marks = ["<|end|>", "<|system|>", "<|user|>", "<|assistant|>", "<|judge|>", "<|act|>"]
    trainer = tokenizers.trainers.BpeTrainer(
        special_tokens=marks, vocab_size=300, initial_alphabet=tokenizers.pre_tokenizers.ByteLevel.alphabet()
    )
    raw.train_from_iterator(["look at the coin"], trainer)
    tokenizer = transformers.PreTrainedTokenizerFast(tokenizer_object=raw, eos_token="<|end|>", pad_token="<|end|>")
    tokenizer.chat_template = TEMPLATE
    # The words of each answer, byte by byte, would need a memory; as one token each, one step is enough.
    tokenizer.add_tokens([REPLY, VERDICT])
    torch.manual_seed(0)
    model = transformers.LlamaForCausalLM(
        transformers.LlamaConfig(
            vocab_size=len(tokenizer),
            hidden_size=32,
            intermediate_size=64,
            num_hidden_layers=1,
            num_attention_heads=2,
            max_position_embeddings=32768,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
            bos_token_id=tokenizer.eos_token_id,
        )
    )
    for layer in model.model.layers:
        torch.nn.init.zeros_(layer.self_attn.o_proj.weight)
        layer.self_attn.o_proj.weight.requires_grad_(False)
    ids = tokenizer.convert_tokens_to_ids
    lines = torch.tensor(
        [[ids("<|act|>"), ids(REPLY), ids("<|end|>")], [ids("<|judge|>"), ids(VERDICT), ids("<|end|>")]]
    )
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=0.02)
    for _ in range(200):
        loss = model(input_ids=lines, labels=lines).loss
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert loss.item() < 0.05
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, str]]:
    folder = tmp_path_factory.mktemp("checkpoint")
    make_checkpoint(folder)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [str(Path(sys.executable).with_name("transformers")), "serve", str(folder), "--port", str(port)]
    log = (folder / "log").open("w")
    process = subprocess.Popen([*command, "--device", "cpu"], stdout=log, stderr=subprocess.STDOUT)
    try:
        deadline = time.monotonic() + 180
        while True:
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=5).read()
                break
            except OSError:
                assert process.poll() is None, (folder / "log").read_text()
                assert time.monotonic() < deadline, (folder / "log").read_text()
                time.sleep(0.5)
        yield f"http://127.0.0.1:{port}/v1", str(folder)
    finally:
        process.terminate()
        process.wait(30)


def test_whole_episodes_with_agent_and_teacher(server: tuple[str, str], tmp_path: Path) -> None:
    url, model = server
    config = CollectConfig(
        env="Coin-v0",
        env_options={"max_steps": 3},
        episodes=4,
        agent=f"chat:model={model},base_url={url},max_tokens=8",
        teacher=f"openai:model={model},base_url={url},max_tokens=8",
    )
    figures = collect(config, tmp_path, concurrency=2)
    trajectories = list(read_trajectories(tmp_path))
    assert sorted(str(trajectory.episode) for trajectory in trajectories) == ["0", "1", "2", "3"]
    assert figures.failed == 0
    for trajectory in trajectories:
        replies = [turn for turn in trajectory.turns if turn.kind == "agent"]
        assert [turn.action for turn in replies] == ["look"] * 3
        assert {turn.verdict.status for turn in replies if turn.verdict is not None} == {"ok"}
        assert all(turn.loss == 1.0 for turn in replies)
    assert figures.paid is not None
    assert figures.paid.prompt_tokens > 0


def test_it_takes_a_schema_and_pays_no_heed(server: tuple[str, str]) -> None:
    """What makes the ladder necessary: without a system prompt it talks as an agent, schema or not."""
    url, model = server
    chat = ChatModel(model, url, max_tokens=8)
    chat.connect(Gateway())
    outcome = ask_for(chat, [{"role": "user", "content": "Judge."}], VerdictFields)
    assert outcome.value is None
    assert "It holds no JSON object." in outcome.problem
    assert outcome.usage.requests == 2
    assert set(chat.gateway.formats.values()) == {2}
