"""``--config``: settings from a file, under what is typed and over the defaults."""

import json
from pathlib import Path

import pytest
from cli_calls import call

from step_envs.collection import CollectConfig
from step_envs.store import read_trajectories

RUN = """
env = "own_world:Coin-v0"
episodes = 3
agent = "novice:error_rate=0.5"
teacher = "none"
concurrency = 1
budget = "2000000tokens"
prices = { m = { input = 1, output = 2 } }

[env_options]
max_steps = 7
task_types = ["far"]
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "run.toml"
    path.write_text(RUN)
    return path


def test_what_is_typed_wins_over_the_file_and_the_file_over_the_default(file: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    made = call(
        *("collect", "--config", file, "--out", out, "--agent", "oracle", "--seed", 0, "--env-option", "max_steps=9")
    )
    assert made.exit_code == 0, made.output
    config = CollectConfig.read(out / "config.json")
    assert (config.agent, config.episodes, config.teacher, config.concurrency) == ("oracle", 3, None, 1)
    assert config.env_options == {"max_steps": 9, "task_types": ["far"]}
    assert config.style == "eto"
    assert config.budget is not None and config.budget.amount == 2_000_000
    assert config.prices["m"].output == 2
    assert {one.task_type for one in read_trajectories(out)} == {"far"}


def test_a_typed_option_with_the_default_as_its_value_still_wins(file: Path, tmp_path: Path) -> None:
    made = call("collect", "--config", file, "--out", tmp_path / "run", "--teacher", "oracle", "--episodes", 10)
    assert made.exit_code == 0, made.output
    config = CollectConfig.read(tmp_path / "run" / "config.json")
    assert (config.teacher, config.episodes) == ("oracle", 10)


def test_the_config_of_a_run_is_a_config_file(file: Path, tmp_path: Path) -> None:
    assert call("collect", "--config", file, "--out", tmp_path / "one").exit_code == 0
    saved = tmp_path / "one" / "config.json"
    for options in (("--out", tmp_path / "two"), ("--out", tmp_path / "one", "--resume", "--concurrency", 2)):
        assert call("collect", "--config", saved, *options).exit_code == 0
    one, two = (CollectConfig.read(tmp_path / name / "config.json") for name in ("one", "two"))
    # What may differ on resume is kept as it was asked for last.
    assert (one.concurrency, two.concurrency) == (2, 1)
    assert one.with_changes(concurrency=1) == two
    refused = call("collect", "--config", saved, "--out", tmp_path / "one", "--resume", "--seed", 5)
    assert refused.exit_code == 2 and "was started with seed=0, not 5" in refused.stderr


def test_a_run_is_made_longer_from_the_command(tmp_path: Path) -> None:
    options = ("collect", "--env", "own_world:Coin-v0", "--agent", "novice:error_rate=0.5", "--out", tmp_path)
    assert call(*options, "--episodes", 5, "--concurrency", 1).exit_code == 0
    begun = (tmp_path / "trajectories.jsonl").read_bytes()
    made = call(*options, "--episodes", 10, "--concurrency", 1, "--resume")
    assert made.exit_code == 0, made.output
    assert (tmp_path / "trajectories.jsonl").read_bytes().startswith(begun)
    assert sorted(one.episode or 0 for one in read_trajectories(tmp_path)) == list(range(10))
    assert CollectConfig.read(tmp_path / "config.json").episodes == 10
    fewer = call(*options, "--episodes", 5, "--resume")
    assert fewer.exit_code == 2 and "can only be made longer: ask for 10 or more episodes" in fewer.stderr
    other = call(*options, "--episodes", 20, "--seed", 4, "--resume")
    assert other.exit_code == 2 and "was started with seed=0, not 4" in other.stderr


def test_a_run_of_an_earlier_version_goes_on(tmp_path: Path) -> None:
    out = tmp_path / "run"
    options = ("collect", "--env", "own_world:Coin-v0", "--episodes", 2, "--out", out)
    assert call(*options).exit_code == 0
    content = (
        *("env", "env_options", "split", "tasks", "episodes", "agent", "teacher", "intervene", "max_errors"),
        *("on_unknown", "style", "seed"),
    )
    saved = json.loads((out / "config.json").read_text())
    (out / "config.json").write_text(json.dumps({name: saved[name] for name in content}))
    assert call(*options, "--resume").exit_code == 0


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("episods = 3", "In run.toml: Unknown key 'episods'. Did you mean 'episodes'"),
        ("episodes = 0", "In run.toml: episodes: Input should be greater than or equal to 1, got 0."),
        ("budget = 'all'", "In run.toml: budget: A budget is dollars (5 or $5) or tokens (2000000tokens), got 'all'."),
        ("concurrency = 0", "In run.toml: concurrency must be at least 1, got 0."),
        ("engine = 'rai'", "In run.toml: engine: Unknown engine 'rai'. Did you mean 'ray'?"),
        ("[cache]\nx = 1", "In run.toml: cache: Input is not a valid path"),
        ("episodes 3", "run.toml is not valid TOML: "),
        ("a = " + "[" * 5000, "run.toml is nested too deeply to be settings."),
        ("seed = -1", "In run.toml: seed: Input should be greater than or equal to 0, got -1."),
        ("env = 'own_world:Coin-v0'\n[env_options]\ntask_types = 3", "task_types takes a list of names, got 3."),
    ],
)
def test_what_is_wrong_in_the_file_is_one_sentence(
    text: str, sentence: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("run.toml").write_text(text)
    result = call("collect", "--config", "run.toml", "--out", "run")
    assert result.exit_code == 2 and sentence in result.stderr
    assert len(result.stderr.splitlines()) == 1 and not Path("run").exists()


def test_a_wrong_value_that_is_typed_is_not_blamed_on_the_file(file: Path, tmp_path: Path) -> None:
    result = call("collect", "--config", file, "--out", tmp_path / "run", "--budget", "all")
    assert result.exit_code == 2 and result.stderr.startswith("A budget is dollars (5 or $5) or tokens")


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("none.toml", "Cannot read none.toml: No such file or directory."),
        ("run.yaml", "run.yaml is neither a .toml nor a .json file: settings are read from one of these."),
        ("list.json", "list.json must hold settings by name, not a list."),
    ],
)
def test_a_file_that_holds_no_settings(
    name: str, sentence: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("list.json").write_text("[1]")
    for verb in ("collect", "eval"):
        result = call(verb, "--config", name, "--out", "run")
        assert result.exit_code == 2 and sentence in result.stderr


def test_a_file_with_a_byte_order_mark_is_read(tmp_path: Path) -> None:
    for name, text in (("run.toml", RUN), ("run.json", '{"env": "own_world:Coin-v0", "episodes": 1}')):
        (tmp_path / name).write_text(text, encoding="utf-8-sig")
        done = call("collect", "--config", tmp_path / name, "--out", tmp_path / name[4:])
        assert done.exit_code == 0, done.output


def test_eval_takes_a_file(tmp_path: Path) -> None:
    file = tmp_path / "eval.toml"
    file.write_text('env = "own_world:Coin-v0"\nagent = "oracle"\nepisodes = 2\nconcurrency = 1\n')
    made = call("eval", "--config", file, "--out", tmp_path / "run", "--per-task", 2, "--json")
    assert made.exit_code == 0, made.output
    found = json.loads(made.stdout)
    assert found["overall"]["episodes"] == 4
    assert (found["config"]["concurrency"], found["config"]["agent"]) == (1, "oracle")
    # The result keeps the settings it was made with, so that it can be made again.
    again = call("eval", "--config", tmp_path / "run" / "evaluation.json", "--out", tmp_path / "again", "--json")
    assert again.exit_code == 0, again.output
    assert json.loads(again.stdout)["config"] == found["config"]
    wrong = call("eval", "--config", tmp_path / "run" / "config.json", "--out", tmp_path / "other")
    assert wrong.exit_code == 2 and "Unknown key 'teacher'" in wrong.stderr


def test_train_takes_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("train.toml").write_text('runs = ["nowhere"]\nmodel = "x"\nmasking = "partly"\n')
    wrong = call("train", "--config", "train.toml", "--out", "model")
    assert wrong.exit_code == 2
    assert "In train.toml: masking: Unknown masking 'partly'. Did you mean 'partial'?" in wrong.stderr
    # What is typed wins, and so the next thing that is wrong is told.
    read = call("train", "--config", "train.toml", "--out", "model", "--masking", "drop")
    assert read.exit_code == 2 and "Cannot read nowhere: No such file or directory." in read.stderr
    for missing in (("--model", "x"), ("nowhere",)):
        assert "or a file of settings with --config." in call("train", *missing, "--out", "model").stderr


def test_reproduce_takes_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    changes = "seeds = [7]\n[base]\nloop = 'trl'\n[training]\nmax_steps = 9\nloop = 'trl'\n"
    changes += "[training.trainer]\noptim = 'adafactor'\n"
    Path("change.toml").write_text(changes)
    shown = json.loads(call("reproduce", "--show", "--preset", "smoke", "--config", "change.toml", "--out", "x").stdout)
    assert (shown["name"], shown["seeds"], shown["training"]["max_steps"]) == ("smoke", [7], 9)
    assert shown["training"]["trainer"] == {"optim": "adafactor"}
    assert shown["base"]["max_steps"] == 4
    Path("whole.json").write_text(json.dumps(shown))
    again = call("reproduce", "--show", "--config", "whole.json", "--set", "seeds=[8]", "--out", "x")
    assert json.loads(again.stdout) == shown | {"seeds": [8]}
    named = json.loads(call("reproduce", "--show", "--config", "whole.json", "--model", "m", "--out", "x").stdout)
    assert (named["model"], named["pretraining"], named["seeds"]) == ("m", None, [7])
    for text, sentence in (
        ("seedz = [7]", "In wrong.toml: Unknown part of the preset 'seedz'. Did you mean 'seed', 'seeds'"),
        ("tasks = 3", "In wrong.toml: tasks: Input should be greater than or equal to 12, got 3."),
        (
            "training = {trainer = {optim = 'adafactor'}}",
            'loop="small" does not know the trainer\'s optim: use loop="trl"',
        ),
    ):
        Path("wrong.toml").write_text(text)
        wrong = call("reproduce", "--show", "--config", "wrong.toml", "--out", "x")
        assert wrong.exit_code == 2 and sentence in wrong.stderr
