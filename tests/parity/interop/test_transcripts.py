"""What published models write against transformers: letters of CTC, Whisper's words."""

import json
import string

import numpy as np
import pytest
import soundfile

import mmjax
from mmjax.errors import UserError
from mmjax.interop.preprocess.texts.letters import letter_decoder
from mmjax.interop.speech.transcription import SPECIAL, joined
from tests.parity.interop import published

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

from tests.parity.test_preprocess_texts import train  # noqa: E402

RATE = 16_000
SPEECH = {
    "hidden_size": 12,
    "num_attention_heads": 3,
    "num_hidden_layers": 1,
    "intermediate_size": 20,
    "conv_dim": [8] * 7,
    "conv_kernel": [10, 3, 3, 3, 3, 2, 2],
    "conv_stride": [5, 2, 2, 2, 2, 2, 2],
    "num_conv_pos_embeddings": 4,
    "num_conv_pos_embedding_groups": 2,
}


def sounds(*seconds, scale=0.3):
    """Noise that swells and falls, so that what is heard changes."""
    generator, found = np.random.default_rng(0), []
    for length in (round(s * RATE) for s in seconds):
        swell = np.sin(np.arange(length) / 900) ** 2
        found.append((scale * swell * generator.normal(size=length)).astype(np.float32))
    return found


LETTERS = ["<pad>", "<s>", "</s>", "<unk>", "|", "'", *string.ascii_uppercase[:6], "."]


def write_letters(folder, **values):
    (folder / "vocab.json").write_text(json.dumps({word: i for i, word in enumerate(LETTERS)}))
    config = {"tokenizer_class": "Wav2Vec2CTCTokenizer"} | values
    (folder / "tokenizer_config.json").write_text(json.dumps(config))


@pytest.fixture(scope="module", params=["group", "layer"])
def speller(request, tmp_path_factory):
    """The folder of a model with a head for CTC, and what transformers writes for a sound alone."""
    folder = tmp_path_factory.mktemp("ctc")
    config = SPEECH | {"feat_extract_norm": request.param, "vocab_size": len(LETTERS) + 1}
    theirs = transformers.Wav2Vec2ForCTC(transformers.Wav2Vec2Config(**config))
    theirs = published.randomise(torch, theirs)
    theirs.save_pretrained(folder)
    masked = request.param == "layer"
    extractor = transformers.Wav2Vec2FeatureExtractor(return_attention_mask=masked)
    extractor.save_pretrained(folder)
    write_letters(folder)
    tokenizer = transformers.Wav2Vec2CTCTokenizer.from_pretrained(folder)

    def write(x):
        inputs = extractor([x], sampling_rate=RATE, return_tensors="pt")
        with torch.no_grad():
            return tokenizer.batch_decode(theirs(**inputs).logits.argmax(-1))[0]

    return folder, write


def test_letters_are_those_of_transformers_for_each_sound_alone(speller, tmp_path):
    folder, write = speller
    values = sounds(0.9, 0.025, 0.3, 0.6)
    expected = [write(x) for x in values]
    assert len({*expected}) == 4
    model = mmjax.load(folder, batch_size=3)
    assert model.transcribe(audio=values) == expected
    assert model.transcribe(audio=values[::-1]) == expected[::-1]
    soundfile.write(tmp_path / "a.wav", values[2], RATE, subtype="FLOAT")
    assert model.transcribe(audio=tmp_path / "a.wav") == expected[2]
    with pytest.raises(UserError, match=r"language: only Whisper takes it"):
        model.transcribe(audio=values, language="en")


@pytest.mark.parametrize(
    "values",
    [
        {},
        {"do_lower_case": True},
        {"replace_word_delimiter_char": "-"},
        {"pad_token": "A", "unk_token": "B", "clean_up_tokenization_spaces": True},
        {"pad_token": {"content": "<s>", "__type": "AddedToken"}},
    ],
    ids=str,
)
def test_ids_of_frames_become_text_as_in_transformers(values, tmp_path):
    write_letters(tmp_path, **values)
    theirs = transformers.Wav2Vec2CTCTokenizer.from_pretrained(tmp_path)
    decode = letter_decoder(tmp_path)
    for seed in range(30):
        random = np.random.default_rng(seed)
        drawn = random.integers(0, len(LETTERS) + 1, 40)
        ids = np.repeat(drawn, random.integers(1, 4, 40)).tolist()
        assert decode(ids) == theirs.decode(ids)
    assert decode([]) == ""


def test_the_word_delimiter_that_the_file_names(tmp_path):
    """Which `from_pretrained` of transformers 5.24 forgets, and its constructor does not."""
    write_letters(tmp_path, word_delimiter_token="'")
    theirs = transformers.Wav2Vec2CTCTokenizer(
        str(tmp_path / "vocab.json"), word_delimiter_token="'"
    )
    ids = [LETTERS.index(letter) for letter in "A'B|C"]
    assert letter_decoder(tmp_path)(ids) == theirs.decode(ids) == "A B|C"


def test_letters_of_several_languages(tmp_path):
    write_letters(tmp_path, target_lang="deu")
    words = {"deu": {"<pad>": 0, "<unk>": 1, "ä": 2}, "eng": {"<pad>": 0, "<unk>": 1, "a": 2}}
    (tmp_path / "vocab.json").write_text(json.dumps(words))
    theirs = transformers.Wav2Vec2CTCTokenizer.from_pretrained(tmp_path)
    ids = [2, 2, 0, 2, 1, 2]
    assert letter_decoder(tmp_path)(ids) == theirs.decode(ids) == "ää<unk>ä"
    write_letters(tmp_path, target_lang=None)
    (tmp_path / "vocab.json").write_text(json.dumps(words))
    with pytest.raises(UserError, match="letters of deu, eng, and .* says target_lang=None"):
        letter_decoder(tmp_path)


@pytest.mark.parametrize(
    ("values", "said"),
    [
        (None, "has no vocab.json, so nothing says which letters"),
        ({"tokenizer_class": "Wav2Vec2PhonemeCTCTokenizer"}, "has only Wav2Vec2CTCTokenizer"),
        ({"pad_token": "[PAD]"}, r"has no '\[PAD\]', which stands for a frame without a letter"),
        ({"do_lower_case": "no"}, "do_lower_case must be true or false"),
        ({"unk_token": 3}, "unk_token cannot be 3"),
    ],
)
def test_letters_that_nothing_says_are_one_line(values, said, tmp_path):
    if values is not None:
        write_letters(tmp_path, **values)
    with pytest.raises(UserError, match=said) as error:
        letter_decoder(tmp_path)
    assert "\n" not in str(error.value)


class Whisper:
    """A Whisper that hears one second, in its folder, with both libraries' words for a sound."""

    def __init__(self, folder, seed):
        train(folder, "whisper")
        self.folder = folder
        size = min(
            map(
                int,
                json.loads((folder / "tokenizer_config.json").read_text())["added_tokens_decoder"],
            )
        )
        start, english, translate, write, _, none = range(size, size + 6)
        config = transformers.WhisperConfig(
            **published.WHISPER,
            vocab_size=size + 66,
            d_model=24,
            max_target_positions=24,
            decoder_start_token_id=start,
        )
        self.theirs = transformers.WhisperForConditionalGeneration(config)
        published.randomise(torch, self.theirs, seed)
        said = {
            "lang_to_id": {"<|en|>": english},
            "task_to_id": {"translate": translate, "transcribe": write},
            "no_timestamps_token_id": none,
            "is_multilingual": True,
            "max_initial_timestamp_index": 12,
            "suppress_tokens": [5, 17, start],
            "begin_suppress_tokens": [0, 20],
            "max_length": 20,
        }
        for name, value in said.items():
            setattr(self.theirs.generation_config, name, value)
        self.theirs.save_pretrained(folder)
        self.extractor = transformers.WhisperFeatureExtractor(feature_size=6, chunk_length=1)
        self.extractor.save_pretrained(folder)
        self.tokenizer = transformers.AutoTokenizer.from_pretrained(folder)

    def write(self, x, **options):
        """What transformers writes for a sound alone, and the ids."""
        options |= {"num_beams": 1, "do_sample": False}
        short = len(x) // 160 <= 100
        more = {} if short else {"truncation": False, "padding": "longest"}
        inputs = self.extractor([x], sampling_rate=RATE, return_tensors="pt", **more)
        options |= {} if short else {"return_timestamps": True}
        ids = self.theirs.generate(inputs.input_features, **options)
        return self.tokenizer.batch_decode(ids, skip_special_tokens=True)[0], ids[0].tolist()


@pytest.fixture(scope="module")
def whisper(tmp_path_factory):
    return Whisper(tmp_path_factory.mktemp("whisper"), 3)


OPTIONS = {"language": "en", "task": "translate", "max_new_tokens": 12}


def test_words_are_those_of_transformers_for_each_sound_alone(whisper):
    """Of less than a window, of one, of a few samples more, and of two and a half."""
    values = sounds(0.4, 1.0, 1.004, 2.5, 1.7)
    found = [whisper.write(x, **OPTIONS) for x in values]
    first = whisper.theirs.generation_config.no_timestamps_token_id + 1
    times = [[number for number in ids if number >= first] for _, ids in found]
    assert not any(times[:3])
    assert min(map(len, times[3:])) > 2
    texts = [text for text, _ in found]
    assert len({*texts}) > 3
    model = mmjax.load(whisper.folder, batch_size=4)
    assert model.transcribe(audio=values, **OPTIONS) == texts
    assert model.transcribe(audio=values[3], **OPTIONS) == texts[3]
    assert model.transcribe(audio=values[::-1], **OPTIONS) == texts[::-1]


def test_a_language_is_detected_once_and_the_words_are_as_many_as_the_file_says(whisper):
    (x,) = sounds(0.7)
    expected = whisper.write(x)[0]
    model = mmjax.load(whisper.folder)
    assert model.transcribe(audio=x) == expected
    with pytest.raises(UserError, match=r"unknown language 'fr': the checkpoint has <\|en\|>"):
        model.transcribe(audio=x, language="fr")
    with pytest.raises(UserError, match=r"use transcribe\(...\) or embed\(...\)"):
        model(audio=x)


def test_the_vocabulary_of_ctranslate2_reads_as_the_tokenizer(whisper):
    ids_of = whisper.tokenizer.get_vocab()
    pieces = sorted(ids_of, key=ids_of.get)
    text = "a photo of a cat, isn't it? l'été 猫"
    ids = whisper.tokenizer(text).input_ids
    assert any(SPECIAL.fullmatch(pieces[number]) for number in ids)
    assert joined(pieces, [*ids, len(pieces) + 3]) == text
    assert whisper.tokenizer.decode(ids, skip_special_tokens=True) == text


def test_without_a_tokenizer_one_line_says_what_is_missing(whisper, tmp_path):
    for name in ("model.safetensors", "config.json", "generation_config.json"):
        (tmp_path / name).write_bytes((whisper.folder / name).read_bytes())
    model, (x,) = mmjax.load(tmp_path), sounds(0.7)
    with pytest.raises(UserError, match="no tokenizer: expected one of tokenizer.json") as error:
        model.transcribe(audio=x)
    assert "\n" not in str(error.value)
