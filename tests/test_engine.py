"""The engine gives each readable photo its own vector, once, whatever happens around it."""

import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from embed import engine, sources
from embed.encoder import PixelEncoder
from embed.engine import Lane, Stamps, embed_photos
from embed.files import sha256
from embed.images import decode, decode_at
from embed.store import EmbeddingStore


class CountingEncoder(PixelEncoder):
    """Counts what it encodes; can fail at a batch, or for want of memory above a size.

    Two batches are under way at a time, as with a real engine.
    """

    in_flight = 2

    def __init__(
        self, fail_at: int | None = None, most: int | None = None, late: bool = False
    ) -> None:
        super().__init__()
        self.sizes: list[int] = []
        self.fail_at, self.most, self.late = fail_at, most, late
        self.witnessed = False

    def encode(self, pixels: np.ndarray) -> np.ndarray:
        if not self.witnessed:  # the engine's own test pictures do not count
            self.witnessed = True
            return super().encode(pixels)
        return self.start(pixels)()

    def start(self, pixels: np.ndarray) -> engine.Pending:
        if self.late:
            return lambda: self.counted(pixels)
        rows = self.counted(pixels)
        return lambda: rows

    def counted(self, pixels: np.ndarray) -> np.ndarray:
        if self.fail_at is not None and len(self.sizes) >= self.fail_at:
            raise KeyboardInterrupt
        if self.most is not None and len(pixels) > self.most:
            raise RuntimeError("CUDA out of memory. Tried to allocate")
        self.sizes.append(len(pixels))
        return PixelEncoder.encode(self, pixels)


def lane(folder: Path, encoder: PixelEncoder | None = None) -> Lane:
    encoder = encoder or CountingEncoder()
    return Lane(encoder, EmbeddingStore.open(folder, encoder.spec))


def files(photos: Path) -> list[str]:
    return [str(path) for path in sorted(photos.glob("*/*.png"))]


def expected(paths: Sequence[str]) -> np.ndarray:
    encoder = PixelEncoder()
    transform = encoder.spec.transform
    return encoder.encode(np.stack([transform(decode(Path(p).read_bytes())) for p in paths]))


def loaded(result: engine.Embedded, where: Lane) -> np.ndarray:
    """The vectors of the readable photos, in the order of the paths."""
    return where.store.load(result.keys)


def test_each_photo_has_its_own_vector(photos: Path, tmp_path: Path) -> None:
    paths, where = files(photos), lane(tmp_path)
    result = embed_photos(paths, [where], batch_size=7)
    np.testing.assert_array_equal(loaded(result, where), expected(paths))
    assert result.keys == [sha256(Path(p).read_bytes()) for p in paths]


def test_a_second_run_encodes_nothing_and_reads_nothing(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = files(photos)
    first = embed_photos(paths, [lane(tmp_path)])
    again = lane(tmp_path)

    def touched(path: str) -> bytes:
        raise AssertionError(f"{path} was read")

    monkeypatch.setattr(sources, "read", touched)
    second = embed_photos(paths, [again], first.stamps)
    assert second.encoded == {"pixels": 0}
    for name in ("keys", "sizes", "mtimes"):
        np.testing.assert_array_equal(getattr(second.stamps, name), getattr(first.stamps, name))


def test_renamed_and_copied_photos_are_not_encoded_again(photos: Path, tmp_path: Path) -> None:
    embed_photos(files(photos), [lane(tmp_path / "store")])
    moved = tmp_path / "moved"
    shutil.copytree(photos / "felidae", moved)
    shutil.copy(moved / "00.png", moved / "copy.png")
    result = embed_photos([str(p) for p in moved.iterdir()], [lane(tmp_path / "store")])
    assert result.encoded == {"pixels": 0}
    assert result.readable.sum() == 13


def test_copies_within_a_batch_are_encoded_once(photos: Path, tmp_path: Path) -> None:
    for i in range(5):
        shutil.copy(photos / "felidae" / "00.png", tmp_path / f"{i}.png")
    encoder = CountingEncoder()
    result = embed_photos([str(p) for p in tmp_path.glob("*.png")], [lane(tmp_path / "s", encoder)])
    assert (sum(encoder.sizes), result.readable.sum()) == (1, 5)


def test_a_changed_photo_is_noticed(photos: Path, tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    shutil.copy(photos / "felidae" / "00.png", path)
    where = lane(tmp_path / "s")
    before = embed_photos([str(path)], [where])
    shutil.copy(photos / "canidae" / "01.png", path)
    after = embed_photos([str(path)], [where], before.stamps)
    assert after.encoded == {"pixels": 1}
    np.testing.assert_array_equal(loaded(after, where), expected([str(path)]))


def test_a_stamp_without_a_vector_does_not_count(photos: Path, tmp_path: Path) -> None:
    """After `--rebuild` the stamps are known and the vectors are not."""
    paths = files(photos)[:3]
    first = embed_photos(paths, [lane(tmp_path / "old")])
    result = embed_photos(paths, [lane(tmp_path / "new")], first.stamps)
    assert result.encoded == {"pixels": 3}


def test_bad_photos_do_not_stop_the_rest(photos: Path, tmp_path: Path) -> None:
    good = files(photos)[:4]
    bad = [
        tmp_path / "cut.png",
        tmp_path / "empty.jpg",
        tmp_path / "text.jpg",
        tmp_path / "gone.jpg",
    ]
    bad[0].write_bytes(Path(good[0]).read_bytes()[:-500])
    bad[1].touch()
    bad[2].write_text("hello")
    mixed = [good[0], str(bad[0]), str(bad[1]), good[1], str(bad[2]), good[2], str(bad[3]), good[3]]
    where = lane(tmp_path / "s")
    result = embed_photos(mixed, [where], batch_size=2)
    assert set(result.problems) == {str(path) for path in bad}
    np.testing.assert_array_equal(loaded(result, where), expected(good))


def test_a_batch_without_a_readable_photo(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").touch()
    result = embed_photos([str(tmp_path / "a.jpg")], [lane(tmp_path / "s")])
    assert (result.readable.any(), len(result.problems)) == (False, 1)


@pytest.mark.parametrize("late", [False, True], ids=["at once", "later"])
def test_an_interrupted_run_loses_one_batch_and_goes_on(
    photos: Path, tmp_path: Path, late: bool
) -> None:
    paths = files(photos)
    with pytest.raises(KeyboardInterrupt):
        embed_photos(paths, [lane(tmp_path, CountingEncoder(6, late=late))], batch_size=8)
    saved = len(EmbeddingStore.open(tmp_path))
    assert 24 - 8 <= saved <= 24
    again = CountingEncoder(late=late)
    where = lane(tmp_path, again)
    result = embed_photos(paths, [where], batch_size=8)
    assert sum(again.sizes) == len(paths) - saved
    np.testing.assert_array_equal(loaded(result, where), expected(paths))


@pytest.mark.parametrize("late", [False, True], ids=["at once", "later"])
def test_a_batch_too_large_for_memory_is_halved(photos: Path, tmp_path: Path, late: bool) -> None:
    encoder = CountingEncoder(most=5, late=late)
    paths, where = files(photos), lane(tmp_path, encoder)
    result = embed_photos(paths, [where], batch_size=64)
    assert max(encoder.sizes) == 4
    np.testing.assert_array_equal(loaded(result, where), expected(paths))


def test_other_errors_of_a_network_are_bugs(photos: Path, tmp_path: Path) -> None:
    class Broken(PixelEncoder):
        def start(self, pixels: np.ndarray) -> engine.Pending:
            raise RuntimeError("shapes do not fit")

    with pytest.raises(RuntimeError, match="shapes do not fit"):
        embed_photos(files(photos)[:2], [lane(tmp_path, Broken())])


def test_two_encoders_decode_each_photo_once(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from dataclasses import replace

    other = CountingEncoder()
    other.spec = replace(other.spec, name="other", pooling="other")
    decoded = []

    def counting(data: bytes, shortest: Sequence[int | None]) -> list[Image.Image]:
        decoded.append(1)
        return decode_at(data, shortest)

    monkeypatch.setattr(engine, "decode_at", counting)
    paths = files(photos)[:6]
    lanes = [lane(tmp_path / "a"), lane(tmp_path / "b", other)]
    result = embed_photos(paths, lanes)
    assert (len(decoded), result.encoded) == (6, {"pixels": 6, "other": 6})


def test_another_process_at_the_same_photos(photos: Path, tmp_path: Path) -> None:
    """What another run saved meanwhile is not encoded again."""
    paths = files(photos)

    class Racing(CountingEncoder):
        def start(self, pixels: np.ndarray) -> engine.Pending:
            if not self.sizes:  # during our first batch somebody embeds everything
                embed_photos(paths, [lane(tmp_path)])
            return super().start(pixels)

    racing = Racing()
    embed_photos(paths, [lane(tmp_path, racing)], batch_size=8)
    assert racing.sizes == [4]


def test_a_stamp_needs_size_and_time(photos: Path, tmp_path: Path) -> None:
    path = files(photos)[0]
    where = lane(tmp_path)
    first = embed_photos([path], [where])
    false = Stamps(1)
    false.put(0, first.keys[0], int(first.stamps.sizes[0]) + 1, int(first.stamps.mtimes[0]))
    again = embed_photos([path], [where], false)
    assert (again.stamps.sizes == first.stamps.sizes).all()


def test_ctrl_c_inside_a_callback_is_not_lost(photos: Path, tmp_path: Path) -> None:
    """Python drops an exception in a weak reference's callback, Ctrl-C's among them."""
    import os
    import signal
    import weakref

    class Thing:
        pass

    class Pressed(CountingEncoder):
        def start(self, pixels: np.ndarray) -> engine.Pending:
            if len(self.sizes) == 1:
                thing = Thing()
                self.ref = weakref.ref(thing, lambda _: os.kill(os.getpid(), signal.SIGINT))
                del thing
            return super().start(pixels)

    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt):
            embed_photos(files(photos), [lane(tmp_path, Pressed())], batch_size=4)
    finally:
        signal.signal(signal.SIGINT, before)
    assert len(EmbeddingStore.open(tmp_path)) == 4  # what was under way was saved
