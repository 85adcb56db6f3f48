"""Real helper processes: they decode what the library decodes, and none of their ends hurts."""

import asyncio
import io
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageCms

from tests.support.fakes import DecodersInThreads
from tests.support.images import RGBA, noise, png
from webhook.cutting import Decoders as AnyDecoders
from webhook.decoders import pool
from webhook.decoders.pool import Decoders, open_decoders
from webhook.decoders.processes import Ended, Zygote
from webhook.errors import (
    DecodersUnavailable,
    ImageRejected,
    ImageTooLarge,
    RemovalError,
    UnsupportedImage,
)
from webhook.imaging import decode

MAX_PIXELS = 50_000_000
PATIENCE_S = 30.0
LONG_ONE = png(np.zeros((5000, 6000, 4), np.uint8), 8, RGBA)  # a quarter of a second for a core


def file_of(image: Image.Image, image_format: str, **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, image_format, **options)
    return file.getvalue()


PHOTO = Image.fromarray(noise((30, 40, 3)).astype(np.uint8))
PROFILE = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes()
TURNED = Image.Exif()
TURNED[0x0112] = 6
FILES = {
    "JPEG": file_of(PHOTO, "JPEG"),
    "a turned JPEG": file_of(PHOTO, "JPEG", exif=TURNED),
    "a progressive JPEG": file_of(PHOTO, "JPEG", progressive=True, icc_profile=PROFILE),
    "a CMYK JPEG": file_of(PHOTO.convert("CMYK"), "JPEG"),
    "PNG with alpha": png(noise((30, 40, 4)), 8, RGBA),
    "a 16 bit PNG": png(noise((30, 40, 4), 65536), 16, RGBA, interlaced=True),
    "GIF": file_of(PHOTO.quantize(16), "GIF", transparency=3),
    "WEBP": file_of(PHOTO, "WEBP"),
}


@asynccontextmanager
async def helpers(count: int = 1, patience_s: float = PATIENCE_S) -> AsyncIterator[Decoders]:
    async with open_decoders(
        count, max_pixels=MAX_PIXELS, max_pixels_in_flight=8 * MAX_PIXELS, patience_s=patience_s
    ) as decoders:
        yield decoders


@pytest.fixture
async def decoders() -> AsyncIterator[Decoders]:
    async with helpers() as decoders:
        yield decoders


async def sizes_of(decoders: AnyDecoders, data: bytes) -> tuple[int, int]:
    """Decode as the service does; return the image's height and width."""
    with decoders.opened(data) as file:
        image, share = await decoders.decode(file, await decoders.probe(file))
        height, width = image.rgba.shape[:2]
        share.let_go()
        return height, width


def children(process: int) -> list[int]:
    return [
        int(child)
        for task in Path(f"/proc/{process}/task").iterdir()
        for child in (task / "children").read_text().split()
    ]


def zygote() -> int:
    (process,) = [
        child
        for child in children(os.getpid())
        if b"webhook.decoders.zygote" in Path(f"/proc/{child}/cmdline").read_bytes()
    ]
    return process


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while not condition():
            await asyncio.sleep(0.005)


@asynccontextmanager
async def every_helper_gets(number: signal.Signals) -> AsyncIterator[None]:
    """Send a signal to each helper as soon as it is seen."""

    async def keep_sending() -> None:
        while True:
            for helper in children(zygote()):
                os.kill(helper, number)
            await asyncio.sleep(0.001)

    sending = asyncio.create_task(keep_sending())
    try:
        yield
    finally:
        sending.cancel()


# --- what they decode ----------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["processes", "threads"])
async def test_they_give_what_the_library_gives(kind: str, decoders: Decoders) -> None:
    doing: AnyDecoders = decoders if kind == "processes" else DecodersInThreads(MAX_PIXELS)
    for name, data in FILES.items():
        expected = decode(data, MAX_PIXELS)
        with doing.opened(data) as file:
            pixels = await doing.probe(file)
            image, share = await doing.decode(file, pixels)
            assert np.array_equal(image.rgba, expected.rgba), name
            assert image.has_alpha == expected.has_alpha
            assert pixels == expected.rgba.shape[0] * expected.rgba.shape[1]
            image.rgba[:] = 7  # as rendering does: it is ours alone
            share.let_go()


@pytest.mark.parametrize("kind", ["processes", "threads"])
async def test_they_refuse_in_the_same_words(kind: str, decoders: Decoders) -> None:
    doing: AnyDecoders = decoders if kind == "processes" else DecodersInThreads(MAX_PIXELS)
    for data, kind_of_error, words in (
        (b"hello", UnsupportedImage, "JPEG, PNG, GIF or WEBP"),
        (file_of(Image.new("L", (9000, 9000)), "PNG"), ImageTooLarge, "9000 × 9000"),
    ):
        with pytest.raises(kind_of_error, match=words):
            await sizes_of(doing, data)


async def test_a_large_webp_is_within_what_is_allowed(decoders: Decoders) -> None:
    """Its library takes memory for the whole canvas before a pixel is asked for."""
    data = file_of(Image.new("L", (7000, 7000)), "WEBP", lossless=True, method=0)
    assert await sizes_of(decoders, data) == (7000, 7000)


async def test_pixels_stay_as_they_are_until_all_have_let_go(decoders: Decoders) -> None:
    with decoders.opened(FILES["JPEG"]) as file, decoders.opened(FILES["GIF"]) as other:
        image, share = await decoders.decode(file, await decoders.probe(file))
        before = image.rgba.copy()
        share.hold()
        share.let_go()
        for _ in range(3):
            _, another = await decoders.decode(other, await decoders.probe(other))
            another.let_go()
        assert np.array_equal(image.rgba, before)
        share.let_go()
        again, share = await decoders.decode(file, await decoders.probe(file))
        assert np.array_equal(again.rgba, before)
        share.let_go()


async def test_memory_of_large_pictures_is_given_back() -> None:
    async with helpers() as decoders:
        large = file_of(Image.new("RGB", (6000, 5000)), "JPEG")
        for _ in range(3):
            assert await sizes_of(decoders, large) == (5000, 6000)
            assert await sizes_of(decoders, FILES["JPEG"]) == (30, 40)
        maps = Path("/proc/self/maps").read_text()
        assert maps.count("memfd:pixels") == 1
        (helper,) = children(zygote())
        await until(lambda: Path(f"/proc/{helper}/maps").read_text().count("memfd:pixels") == 1)


# --- how they end --------------------------------------------------------------------------------


async def test_a_helper_that_is_killed_costs_nothing(decoders: Decoders) -> None:
    for number in (signal.SIGKILL, signal.SIGSEGV):
        for _ in range(5):
            assert await sizes_of(decoders, FILES["JPEG"]) == (30, 40)
            (helper,) = children(zygote())
            os.kill(helper, number)
    os.kill(zygote(), signal.SIGKILL)
    assert await sizes_of(decoders, FILES["JPEG"]) == (30, 40)


async def test_a_memory_fault_refuses_one_picture_and_no_other(decoders: Decoders) -> None:
    async with every_helper_gets(signal.SIGSEGV):
        with pytest.raises(UnsupportedImage, match="breaks its decoder"):
            await sizes_of(decoders, LONG_ONE)
    assert await sizes_of(decoders, LONG_ONE) == (5000, 6000)


async def test_helpers_that_others_end_say_nothing_about_the_picture(decoders: Decoders) -> None:
    async with every_helper_gets(signal.SIGKILL):
        with pytest.raises(DecodersUnavailable) as caught:
            await sizes_of(decoders, LONG_ONE)
    assert caught.value.transient


@pytest.mark.parametrize("resource", ["time", "memory"])
async def test_a_picture_that_takes_too_much_is_refused(
    resource: str, decoders: Decoders, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        if resource == "time":
            patch.setattr(pool, "_CPU_S", 0.02)
            patch.setattr(pool, "_CPU_S_PER_PIXEL", 0)
        else:
            patch.setattr(pool, "_MEMORY_BYTES", 2**22)
            patch.setattr(pool, "_MEMORY_PER_PIXEL", 0)
        with pytest.raises(ImageRejected, match=f"more {resource} than"):
            await sizes_of(decoders, LONG_ONE)
    assert await sizes_of(decoders, LONG_ONE) == (5000, 6000)


async def test_the_cause_of_an_end_is_known_though_the_helper_had_unread_orders() -> None:
    forking = await Zygote.start(2**34)
    for _ in range(20):  # the reset of the connection may come before the words, or after them
        helper = await forking.fork()
        os.kill(helper.process, signal.SIGSTOP)
        answer = asyncio.create_task(helper.ask({"forget": 7}, []))
        await asyncio.sleep(0)
        os.kill(helper.process, signal.SIGSEGV)
        os.kill(helper.process, signal.SIGCONT)
        with pytest.raises(Ended, match="fault"):
            await answer
        helper.kill()
    forking.close()


async def test_a_helper_that_hangs_is_replaced() -> None:
    async with helpers(patience_s=0.5) as decoders:
        assert await sizes_of(decoders, FILES["JPEG"]) == (30, 40)
        (helper,) = children(zygote())
        os.kill(helper, signal.SIGSTOP)
        assert await sizes_of(decoders, FILES["JPEG"]) == (30, 40)
        assert helper not in children(zygote())


async def test_who_leaves_ends_the_decoding(decoders: Decoders) -> None:
    assert await sizes_of(decoders, FILES["JPEG"]) == (30, 40)
    (helper,) = children(zygote())
    os.kill(helper, signal.SIGSTOP)  # in the middle of it
    job = asyncio.create_task(sizes_of(decoders, LONG_ONE))
    await asyncio.sleep(0.05)
    job.cancel()
    with pytest.raises(asyncio.CancelledError):
        await job
    await until(lambda: helper not in children(zygote()))
    assert await sizes_of(decoders, FILES["JPEG"]) == (30, 40)


async def test_no_more_helpers_than_allowed_work_at_once() -> None:
    async with helpers(2) as decoders:
        jobs = [sizes_of(decoders, data) for data in FILES.values() for _ in range(10)]
        await asyncio.gather(*jobs)
        assert len(children(zygote())) <= 2


async def test_none_outlives_the_service() -> None:
    code = f"""if True:
        import asyncio
        from webhook.decoders.pool import open_decoders
        async def main():
            async with open_decoders(
                1, max_pixels=100, max_pixels_in_flight=100, patience_s={PATIENCE_S}
            ):
                print("ready", flush=True)
                await asyncio.sleep({PATIENCE_S})
        asyncio.run(main())
    """
    service = await asyncio.create_subprocess_exec(
        sys.executable, "-c", code, stdout=asyncio.subprocess.PIPE
    )
    assert service.stdout is not None
    assert await service.stdout.readline() == b"ready\n"
    (its_zygote,) = children(service.pid)
    (helper,) = children(its_zygote)
    service.kill()
    await service.wait()
    await until(lambda: not _runs(its_zygote))
    await until(lambda: not _runs(helper))


def _runs(process: int) -> bool:
    try:
        return ") Z " not in Path(f"/proc/{process}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False


# --- what they can't do --------------------------------------------------------------------------


async def test_they_hold_nothing_of_the_service(
    decoders: Decoders,
) -> None:
    assert await sizes_of(decoders, FILES["JPEG"]) == (30, 40)
    (helper,) = children(zygote())
    proc = Path(f"/proc/{helper}")
    assert proc.joinpath("environ").read_bytes() == b""
    held = [os.readlink(link).split(":")[0] for link in proc.joinpath("fd").iterdir()]
    nothing = ["/dev/null"] * 3
    assert sorted(held) == sorted([*nothing, "/memfd", f"/proc/{helper}/statm", "socket"])
    status = dict(line.split(":\t", 1) for line in proc.joinpath("status").read_text().splitlines())
    assert (status["NoNewPrivs"], status["Threads"], status["Seccomp"]) == ("1", "1", "2")
    maps = proc.joinpath("maps").read_text()
    assert "torch" not in maps
    assert "PIL" in maps


def test_they_load_nothing_that_they_do_not_need() -> None:
    code = "import sys, webhook.decoders.zygote; print(*sys.modules)"
    loaded = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout.split()
    wanted = {"torch", "boto3", "httpx", "gql", "pydantic", "starlette", "webhook.settings"}
    assert not wanted & set(loaded)


def test_a_confined_process_can_begin_nothing() -> None:
    """As root or as anybody; where the kernel lacks Landlock, it can read files still."""
    code = """if True:
        import os, socket, sys, threading
        from webhook.decoders.confinement import Confinement
        service = os.getppid()
        Confinement(2**34)
        for name, attempt in {
            "reading": lambda: open("/etc/passwd"),
            "the service's secrets": lambda: open(f"/proc/{service}/environ"),
            "writing": lambda: open("/tmp/decoders", "w"),
            "a process": os.fork,
            "a thread": threading.Thread(target=print).start,
            "a program": lambda: os.execv(sys.executable, [sys.executable]),
            "a connection": socket.socket,
            "a signal": lambda: os.kill(service, 0),
        }.items():
            try:
                attempt()
            except (OSError, RuntimeError):
                continue
            print(name)
    """
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


async def test_a_machine_on_which_it_can_not_work_is_told_at_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(pool, "_MEMORY_BYTES", 0)
    monkeypatch.setattr(pool, "_MEMORY_PER_BYTE", 0)
    monkeypatch.setattr("webhook.decoders.processes.sys.executable", "/bin/false")
    with pytest.raises(RemovalError, match="can't be decoded on this machine"):
        async with helpers():
            pass
