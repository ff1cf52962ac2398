"""The places of replies: before each stands exactly what a model has read and written by then, for every template."""

import pytest

pytest.importorskip("transformers", reason="needs the extra train")
pytest.importorskip("trl", reason="needs the extra train")
pytest.importorskip("jinja2", reason="needs the extra train")

from made_episodes import make_episode
from mask_checks import PLAIN, THINKING, letters
from small_tokenizers import HAND_WRITTEN, KINDS, make_tokenizer, published_templates

from step_envs.credit.episode_tokens import EpisodeEncoder, acting_replies
from step_envs.errors import TemplateError
from step_envs.training.tokens import IGNORED, tokenize_trajectory

pytestmark = pytest.mark.train

TEMPLATES = [*HAND_WRITTEN, *published_templates()]
# Their generation prompt opens a thought, which a reply without one would never close.
THINKERS = [name for name in TEMPLATES if name.startswith(("deepseek", "nemotron"))]
STYLES = {"plain": PLAIN, "thoughts": THINKING}


def episode(style=PLAIN, count=4, **options):
    return make_episode([style.format(number, number // 2) for number in range(count)], 1.0, **options)


def readings(samples):
    """What a model has read at each place."""
    return [sample.ids[: place + 1] for sample in samples for place in sample.places]


def as_trained(tokenizer, trajectory, index):
    """What fine-tuning would make of one reply: the ids up to its end, and how many of them stand before it."""
    messages = [message | {"loss": 0.0} for message in trajectory.messages()[: index + 1]]
    messages[-1]["loss"] = 1.0
    (sample,) = tokenize_trajectory(messages, tokenizer)
    labelled = [place for place, label in enumerate(sample["labels"]) if label != IGNORED]
    return sample["input_ids"][: labelled[-1] + 1], labelled[0]


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("template", TEMPLATES)
def test_every_place_is_the_end_of_a_reply_as_fine_tuning_finds_it(template, kind, style):
    tokenizer = make_tokenizer(kind, template)
    # Fine-tuning looks at the reply "OK" to the manual as well, which has no thought.
    trajectory = episode(STYLES[style], manual=False)
    if template in THINKERS and style != "thoughts":
        with pytest.raises(TemplateError, match="opens a thought before every reply"):
            EpisodeEncoder(tokenizer).encode(trajectory)
        return
    start, *ends = readings(EpisodeEncoder(tokenizer).encode(trajectory))
    expected = [as_trained(tokenizer, trajectory, index) for index in acting_replies(trajectory)]
    assert len(ends) == len(expected) == 4
    for ids, (trained, before) in zip(ends, expected, strict=True):
        # Where tokens merge across the edge of a prompt, fine-tuning writes the reply on its own: the text is the same.
        if ids[:before] == trained[:before]:
            assert ids == trained
        assert letters(tokenizer.decode(ids)) == letters(tokenizer.decode(trained))
        assert ids[-1] == trained[-1]
    trained, before = expected[0]
    if ends[0] == trained:
        assert start == trained[:before]


def test_a_template_that_only_appends_gives_one_sample_and_one_that_rewrites_gives_many():
    encoded = {
        name: EpisodeEncoder(make_tokenizer("bytes", name)).encode(episode(THINKING)) for name in ("chatml", "qwen3")
    }
    assert [len(samples) for samples in encoded.values()] == [1, 4]
    assert [len(sample.places) for sample in encoded["chatml"]] == [5]
    assert [len(sample.places) for sample in encoded["qwen3"]] == [2, 1, 1, 1]


@pytest.mark.parametrize("template", ["chatml", "qwen3", "llama2"])
def test_what_stands_before_a_place_does_not_depend_on_later_turns(template):
    encoder = EpisodeEncoder(make_tokenizer("bytes", template))
    whole = readings(encoder.encode(episode(THINKING, 4)))
    for count in (1, 2, 3):
        assert readings(encoder.encode(episode(THINKING, count))) == whole[: count + 1]


def test_text_that_looks_like_a_special_token_stays_text():
    tokenizer = make_tokenizer("bytes", "chatml")
    tricky = episode(observation="Observation: box {} says <|im_end|>.")
    (sample,) = EpisodeEncoder(tokenizer).encode(tricky)
    end = tokenizer.convert_tokens_to_ids("<|im_end|>")
    assert sample.ids.count(end) == 3 + 4 + 3, "manual, OK and task, replies, and the observations between them"
    assert "says <|im_end|>." in tokenizer.decode(sample.ids)


def test_old_observations_are_shortened_where_an_episode_is_longer_than_the_context():
    tokenizer = make_tokenizer("bytes", "chatml")
    long = episode(count=6, observation="Observation: box {} is empty. " + "It is large and red. " * 20)
    (whole,) = EpisodeEncoder(tokenizer).encode(long)
    context = len(whole.ids) * 2 // 3
    samples = EpisodeEncoder(tokenizer, context).encode(long)
    assert len(samples) > 1
    assert max(len(sample.ids) for sample in samples) <= context
    assert sum(len(sample.places) for sample in samples) == 7
    # What fits is what it is without a limit; what does not has lost the end of old observations and nothing else.
    assert whole.ids[: len(samples[0].ids)] == samples[0].ids
    last = tokenizer.decode(samples[-1].ids)
    assert "Your task is to find the coin." in last
    assert all(f"Action: open box {number // 2}" in last for number in range(6))
    assert "[...]" in last
    assert EpisodeEncoder(tokenizer, 60).encode(long) is None


def test_without_a_reply_there_is_nothing_to_read():
    assert EpisodeEncoder(make_tokenizer("bytes", "chatml")).encode(make_episode([], 0.0)) is None


def test_a_tokenizer_without_a_chat_template_is_refused():
    tokenizer = make_tokenizer("bytes", "chatml")
    tokenizer.chat_template = None
    with pytest.raises(TemplateError, match=r"has no chat template: set tokenizer\.chat_template to the one the"):
        EpisodeEncoder(tokenizer)
