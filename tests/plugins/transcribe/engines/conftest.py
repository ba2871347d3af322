"""What the engines are tested with: a worker that decodes nothing, a Whisper model of nothing, and speech."""

from __future__ import annotations

import asyncio
import json
import os
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import uvloop
from blockbuster import blockbuster_ctx
from receiver_plugins.transcribe.engine import RATE, Engine, Heard, Int16Array
from websockets.asyncio.server import ServerConnection, serve

WAIT_S = 50
SPEECH = Path(__file__).parents[4] / "receiver" / "simulate" / "speech"

# Its model is its settings: a file that says what happens when it loads. What happens when it is fed is in the samples.
TOY = """
import os, sys, time
from pathlib import Path
from receiver_plugins.transcribe.engine import Heard, Word
from receiver_plugins.transcribe.engines.worker import CannotLoad, work

class Toy:
    def __init__(self):
        self.fed = 0
        match Path(sys.argv[1]).read_text().split():
            case ["refuse", option]:
                raise CannotLoad(option, "there is no such model")
            case ["crash"]:
                print("something", file=sys.stderr)
                raise OSError("the model\\x1b[1m is broken")
            case ["gibberish"]:
                os.write(self.pipe(), b"gibberish")
            case ["deaf"]:
                os.close(self.pipe())
                os.close(self.pipe())
                time.sleep(60)
            case ["answer"]:
                os.write(self.pipe(), (6).to_bytes(4) + bytes([0x81, 0xA4]) + b"type")
    def pipe(self):
        return next(fd for fd in range(3, 20) if os.path.exists(f"/proc/self/fd/{fd}")
                    and os.readlink(f"/proc/self/fd/{fd}").startswith("socket"))
    def feed(self, samples):
        self.fed += len(samples) // 2
        meet = Path(sys.argv[1]).with_name("meet")
        match samples[0]:
            case 1:
                print("printed")
            case 2:
                sys.exit("it hurts")
            case 3:  # until the other one is there as well
                (meet / str(os.getpid())).touch()
                while len(list(meet.iterdir())) < 2:
                    time.sleep(0.01)
            case 4:
                (meet / "busy").touch()
                while not (meet / "go").exists():
                    time.sleep(0.01)
        return [Heard(f"{self.fed}", False, 0, self.fed)]
    def finish(self):
        fed, self.fed = self.fed, 0
        return [Heard(f"{os.getpid()}", True, 0, fed + 5, (Word("pid", 3, fed + 5, 0.5),))] if fed else []
    def drop(self):
        self.fed = 0

if __name__ == "__main__":
    work(Toy)
"""


@pytest.fixture(autouse=True)
def nothing_blocks_the_loop() -> Iterator[None]:
    """An engine that blocked would hold up every stream of its sink."""
    with blockbuster_ctx(["receiver_plugins"]) as watching:
        watching.functions["threading.Lock.acquire"].can_block_in("coverage/collector.py", {"lock_data"})
        yield


def run(main: Coroutine[Any, Any, None]) -> None:
    """Run it, with an end."""
    asyncio.run(asyncio.wait_for(main, WAIT_S))


async def listen(engine: Engine, samples: Int16Array, size: int = RATE // 10) -> list[Heard]:
    """What an engine hears of an utterance that comes in pieces."""
    heard: list[Heard] = []
    async with engine.recognize() as recognition:
        for at in range(0, len(samples), size):
            heard += await recognition.feed(samples[at : at + size])
        heard += await recognition.finish()
    return heard


def finals(heard: Sequence[Heard]) -> list[str]:
    """Their words."""
    return [word for one in heard if one.final for word in one.text.split()]


async def until(condition: Callable[[], bool]) -> None:
    """Wait for something that happens elsewhere."""
    while not condition():
        await asyncio.sleep(0.01)


def alive(pid: int) -> bool:
    """Whether there is such a process, be it a zombie."""
    return Path(f"/proc/{pid}").exists()


def speech(side: str, start_s: float, end_s: float) -> Int16Array:
    """A part of the demo call."""
    samples, rate = soundfile.read(SPEECH / f"{side}.flac", dtype="int16")
    assert rate == RATE
    return np.asarray(samples[round(start_s * rate) : round(end_s * rate)], np.int16)


@pytest.fixture
def toy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The settings of a toy worker, whose module is ``toy_worker``: a file that may be written to."""
    (tmp_path / "toy_worker.py").write_text(TOY)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    (tmp_path / "meet").mkdir()
    model = tmp_path / "model"
    model.write_text("fine")
    return model


@pytest.fixture
def nothing_left() -> Iterator[None]:
    """Afterwards there is no descriptor and no thread that was not there before."""

    def held() -> tuple[set[str], set[str]]:
        links = set()
        for name in os.listdir("/proc/self/fd"):
            try:
                links.add(os.readlink(f"/proc/self/fd/{name}"))
            except FileNotFoundError:  # the one that lists them
                continue
        return {link for link in links if link.startswith(("socket", "pipe"))}, {
            thread.name for thread in threading.enumerate() if thread.name.startswith("waiting for")
        }

    uvloop.new_event_loop().close()  # libuv has a pipe for the process, which it keeps from the first loop on
    before = held()
    yield
    deadline = time.monotonic() + WAIT_S
    while held() != before and time.monotonic() < deadline:
        threading.Event().wait(0.01)
    assert held() == before


WIDTH = 16
HEADS = 2
MELS = 80
FRAMES = 1500  # of the encoder: 30 s
TOKENS = 448  # of the decoder, at most
SPECIAL = [
    "<|endoftext|>",
    "<|startoftranscript|>",
    "<|translate|>",
    "<|transcribe|>",
    "<|startoflm|>",
    "<|startofprev|>",
    "<|nospeech|>",
    "<|notimestamps|>",
]
TIMES = [f"<|{time / 50:.2f}|>" for time in range(1501)]
WORDS = ["alpha", "bravo", "charlie", "delta", "echo", "foxtrot", "golf", "hotel"]


Behaviour = Callable[[ServerConnection, bytes], Awaitable[None]]


class VoskServer:
    """As the published one: a phrase ends after every second of audio, and has a word for its first half."""

    def __init__(self, behaviour: Behaviour | None = None) -> None:
        self.behaviour = behaviour
        self.configs: list[dict[str, Any]] = []
        self.headers: list[str | None] = []
        self.open = 0
        self.most = 0

    async def __call__(self, connection: ServerConnection) -> None:
        self.open += 1
        self.most = max(self.most, self.open)
        assert connection.request is not None
        self.headers.append(connection.request.headers.get("Authorization"))
        fed = 0
        try:
            async for message in connection:
                if isinstance(message, str) and "config" in message:
                    self.configs.append(json.loads(message)["config"])
                elif message == '{"eof" : 1}':
                    await connection.send(self.phrase(fed))
                    break
                elif isinstance(message, bytes):
                    if self.behaviour is not None:
                        await self.behaviour(connection, message)
                        continue
                    fed += len(message) // 2
                    partial = json.dumps({"partial": "so far" if fed % RATE else ""})
                    await connection.send(partial if fed % RATE else self.phrase(fed))
        finally:
            self.open -= 1

    @staticmethod
    def phrase(fed: int) -> str:
        begin = (fed - 1) // RATE
        if fed % RATE == 0 and fed > 2 * RATE:
            return json.dumps({"text": ""})
        word = {"conf": 0.25, "start": begin, "end": begin + 0.5, "word": "second"}
        return json.dumps({"result": [word], "text": "second"})


@asynccontextmanager
async def serving(handler: Callable[[ServerConnection], Awaitable[None]], **options: Any) -> AsyncIterator[str]:
    async with serve(handler, "127.0.0.1", 0, **options) as server:
        yield f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}/stream?key=hidden"


def make_model(directory: Path, seed: int = 7) -> Path:
    """Write one, for English alone. What it hears is nonsense, and always the same."""

    from ctranslate2.specs import WhisperSpec
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers

    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    plain = letters + [f"\N{LATIN CAPITAL LETTER G WITH DOT ABOVE}{word}" for word in WORDS]
    vocabulary = plain + SPECIAL + TIMES
    random = np.random.default_rng(seed)

    def weights(*shape: int) -> Any:
        return random.normal(0, 0.3, shape).astype(np.float32)

    def linear(layer: Any, rows: int, columns: int) -> None:
        layer.weight, layer.bias = weights(rows, columns), weights(rows)

    def norm(layer: Any) -> None:
        layer.gamma, layer.beta = np.ones(WIDTH, np.float32), np.zeros(WIDTH, np.float32)

    spec = WhisperSpec(1, HEADS, 1, HEADS)
    encoder, decoder = spec.encoder, spec.decoder
    encoder.conv1.weight, encoder.conv1.bias = weights(WIDTH, MELS, 3), weights(WIDTH)
    encoder.conv2.weight, encoder.conv2.bias = weights(WIDTH, WIDTH, 3), weights(WIDTH)
    encoder.position_encodings.encodings = weights(FRAMES, WIDTH)
    decoder.position_encodings.encodings = weights(TOKENS, WIDTH)
    decoder.embeddings.weight = weights(len(vocabulary), WIDTH)
    decoder.projection.weight = weights(len(vocabulary), WIDTH)
    likely = np.zeros(len(vocabulary), np.float32)
    likely[: len(letters)] = -50  # words, and no letters
    likely[vocabulary.index("<|endoftext|>")] = -1.5  # a few words, and not the end at once
    likely[vocabulary.index("<|nospeech|>")] = -50
    likely[-len(TIMES) :] = -4  # or they would be all that it says
    decoder.projection.bias = likely
    for part in (encoder, decoder):
        norm(part.layer_norm)
        for layer in part.layer:
            norm(layer.self_attention.layer_norm)
            linear(layer.self_attention.linear[0], 3 * WIDTH, WIDTH)
            linear(layer.self_attention.linear[1], WIDTH, WIDTH)
            norm(layer.ffn.layer_norm)
            linear(layer.ffn.linear_0, 4 * WIDTH, WIDTH)
            linear(layer.ffn.linear_1, WIDTH, 4 * WIDTH)
    for layer in decoder.layer:
        norm(layer.attention.layer_norm)
        linear(layer.attention.linear[0], WIDTH, WIDTH)
        linear(layer.attention.linear[1], 2 * WIDTH, WIDTH)
        linear(layer.attention.linear[2], WIDTH, WIDTH)
    spec.register_vocabulary(vocabulary)
    spec.config.alignment_heads = [(0, head) for head in range(HEADS)]
    spec.config.lang_ids = []
    spec.config.suppress_ids = []
    spec.config.suppress_ids_begin = []
    spec.validate()
    spec.optimize()
    directory.mkdir()
    spec.save(str(directory))

    tokenizer = Tokenizer(models.BPE({token: number for number, token in enumerate(plain)}, []))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([AddedToken(token, special=True) for token in SPECIAL])
    tokenizer.add_tokens([AddedToken(token, special=False) for token in TIMES])
    tokenizer.save(str(directory / "tokenizer.json"))
    features = {"feature_size": MELS, "sampling_rate": 16000, "hop_length": 160, "chunk_length": 30, "n_fft": 400}
    (directory / "preprocessor_config.json").write_text(json.dumps(features))
    return directory


@pytest.fixture(scope="session")
def whisper_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory of a Whisper model."""
    pytest.importorskip("faster_whisper")
    return make_model(tmp_path_factory.mktemp("whisper") / "tiny")


@pytest.fixture
def kit() -> Any:
    """What stands above, for the tests of this folder."""
    import sys

    return sys.modules[__name__]
