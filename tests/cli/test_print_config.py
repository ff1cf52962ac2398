"""``--print-config``: all settings of a command, as a file that gives them again."""

import json
import tomllib
from pathlib import Path

import pytest
from cli_calls import call

from step_envs.cli.config_output import toml_lines

MODELS = "openai:model=m,base_url=http://localhost:1/v1"
CALLS: dict[str, tuple[object, ...]] = {
    "collect": (
        *("--env", "own_world:Coin-v0", "--agent", "novice:error_rate=0.5", "--teacher", "none", "--seed", 3),
        *("--task-type", "far", "--env-option", "max_steps=None", "--env-option", 'x={"a b": [1, "ü\\u007f"]}'),
        *("--budget", "3", "--concurrency", 4, "--tolerant"),
    ),
    "eval": ("--env", "own_world:Coin-v0", "--episodes", 3, "--recovery", "--after", 2, "--cache", "a b.sqlite"),
    "train": ("one", "two", "--model", "m", "--recipe", "eto:beta=0.5", "--trainer", "optim=adafactor", "--no-audit"),
    "annotate": ("one", "two", "--value", "rollouts:agent=novice,n=3", "--env-option", "data_path=x y"),
    "reproduce": ("--preset", "gpu", "--set", "seeds=[7]", "--set", "training.max_steps=500"),
    "teacher-eval": (
        *("--teacher", "oracle", "--teacher", MODELS, "--env", "STeP-ALFWorld-v0", "--error-rate", 0.5),
        *("--task-type", "pick_two_obj_and_place", "--budget", "2000tokens"),
    ),
    "export": ("one", "--format", "sharegpt", "--outcome", "kept", "--max-errors", 1, "--overwrite"),
}


@pytest.mark.parametrize("verb", CALLS)
def test_what_is_printed_gives_the_same_settings_again(
    verb: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    printed = call(verb, *CALLS[verb], "--print-config")
    assert printed.exit_code == 0, printed.output
    assert printed.stdout.startswith(f"# step-envs {verb} --config FILE")
    Path("again.toml").write_text(printed.stdout)
    again = call(verb, "--config", "again.toml", "--print-config")
    assert again.exit_code == 0, again.output
    assert again.stdout == printed.stdout
    assert [path.name for path in tmp_path.iterdir()] == ["again.toml"]  # nothing was run


def test_the_settings_are_whole_and_resolved(tmp_path: Path) -> None:
    prices = tmp_path / "prices.json"
    prices.write_text('{"m": {"input": 0.5, "output": 1}}')
    printed = call("collect", "--prices", prices, "--env-option", "data_path=None", "--agent", MODELS, "--print-config")
    found = tomllib.loads(printed.stdout)
    assert (found["env"], found["episodes"], found["teacher"], found["intervene"]) == (
        *("STeP-SciWorld-v0", 10, "oracle", "after"),
    )
    assert found["concurrency"] == 2  # what it would be for a model
    assert found["split"] == found["budget"] == found["env_options"]["data_path"] == "None"
    assert found["prices"] == {"m": {"input": 0.5, "output": 1.0, "cached_input": "None"}}


def test_a_run_from_printed_settings_is_the_run(tmp_path: Path) -> None:
    played = ("--env", "own_world:Coin-v0", "--episodes", 3, "--agent", "novice:error_rate=0.5", "--teacher", "none")
    file = tmp_path / "run.toml"
    file.write_text(call("collect", *played, "--print-config").stdout)
    for name, options in (("one", played), ("two", ("--config", file))):
        made = call("collect", *options, "--out", tmp_path / name)
        assert made.exit_code == 0, made.output
    one, two = (json.loads((tmp_path / name / "config.json").read_text()) for name in ("one", "two"))
    assert one == two and one["teacher"] is None


def test_what_the_recipe_decides_is_left_to_it() -> None:
    printed = call("train", "run", "--model", "m", "--recipe", "eto", "--batch-size", 2, "--print-config").stdout
    found = tomllib.loads(printed)
    assert found["batch_size"] == 2 and "learning_rate" not in found
    assert "# Not set, so that the recipe decides: accumulate, " in printed and "learning_rate" in printed


def test_show_prints_the_same_as_json() -> None:
    asked = ("reproduce", "--preset", "smoke")
    shown = json.loads(call(*asked, "--show").stdout)
    printed = tomllib.loads(call(*asked, "--print-config").stdout)
    assert printed["training"]["max_steps"] == shown["training"]["max_steps"]
    assert printed["model"] == "None" and shown["model"] is None


def test_a_key_is_not_printed() -> None:
    for options in (("--env-option", "api_key=sk-marker-0123456789abcdef"), ("--agent", "chat:model=m,api_key=marker")):
        result = call("collect", *options, "--print-config")
        assert result.exit_code == 2 and "marker" not in result.output and "environment variable" in result.stderr


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("collect",), "Name the folder of the run with --out."),
        (("annotate", "run"), "Name the folder of the result with --out."),
        (("annotate", "--out", "x"), "Name a run to annotate, or a file of settings with --config."),
        (("export", "run"), "Name the file to write with --out."),
        (("export", "--out", "x"), "Name a run to export, or a file of settings with --config."),
        (("reproduce",), "Name the folder of the experiment with --out."),
        (("teacher-eval",), "Name a teacher with --teacher, or a file of settings with --config."),
        (("eval", "--compare", "a", "b", "--print-config"), "leave --compare away."),
        (("eval", "--after", 2, "--print-config"), "add --recovery, or leave it out."),
        (("collect", "--env", "STeP-Sciworld-v0", "--print-config"), "Did you mean 'STeP-SciWorld-v0'"),
        (("teacher-eval", "--teacher", "oracle", "--env", "x", "--print-config"), "Unknown environment 'x'"),
        (("export", "run", "--outcome", "won", "--print-config"), "Unknown outcome 'won'."),
        (("export", "run", "--max-errors", 1, "--print-config"), "add --outcome kept (or dropped), or leave it out."),
    ],
)
def test_what_is_missing_or_wrong_is_one_sentence(arguments: tuple[object, ...], sentence: str) -> None:
    result = call(*arguments)
    assert result.exit_code == 2 and sentence in result.stderr and len(result.stderr.splitlines()) == 1


@pytest.mark.parametrize(
    ("verb", "text", "sentence"),
    [
        ("annotate", "runs = ['run']\nvalu = 'oracle'", "In wrong.toml: Unknown key 'valu'. Did you mean 'value'"),
        ("teacher-eval", "teacher = ['oracle']\nepisodes = 0", "In wrong.toml: episodes: Input should be greater than"),
        ("teacher-eval", "episodes = 3", "teacher is missing."),
        ("export", "runs = ['run']\nformat = 3", "In wrong.toml: format: Input should be a valid string, got 3."),
        ("eval", "after = 3", "add --recovery, or leave it out."),
    ],
)
def test_what_is_wrong_in_a_file_is_one_sentence(
    verb: str, text: str, sentence: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("wrong.toml").write_text(text)
    result = call(verb, "--config", "wrong.toml", "--out" if verb != "teacher-eval" else "--cache", "x")
    assert result.exit_code == 2 and sentence in result.stderr and len(result.stderr.splitlines()) == 1


def test_what_is_typed_wins_over_the_file_for_every_command(tmp_path: Path) -> None:
    file = tmp_path / "run.toml"
    file.write_text('runs = ["a"]\nformat = "turns"\noutcome = ["kept"]\n')
    found = tomllib.loads(call("export", "b", "--config", file, "--format", "messages", "--print-config").stdout)
    assert (found["runs"], found["format"], found["outcome"]) == (["b"], "messages", ["kept"])
    file.write_text('teacher = ["oracle"]\nepisodes = 5\n[env_options]\nx = 1\ny = 2\n')
    typed = ("--episodes", 20, "--env-option", "x=3")
    found = tomllib.loads(call("teacher-eval", "--config", file, *typed, "--print-config").stdout)
    assert (found["teacher"], found["episodes"], found["env_options"]) == (["oracle"], 20, {"x": 3, "y": 2})


def test_any_json_value_is_written_as_toml_reads_it() -> None:
    value = {
        "text": 'quotes " \\ \n \x7f \x01 ü 😀',
        "numbers": [1, -2, 2e-05, 1e100, 0.1, True, False],
        "a key.with dots": {"in\nner": {"empty": {}, "x": []}, "list": [{"a": 1}, {}]},
        "last": "plain",
    }
    assert tomllib.loads("\n".join(toml_lines(value))) == value
