"""`python -m webhook local`: files of this machine, without a server and without settings."""

import io
import re
import shutil
import signal
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.support.command_line import Shell
from tests.support.photos import COFFEE, ROCKET

COLOUR = re.compile(r"\x1b\[[0-9;]*3[0-7]m")


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    return Shell(tmp_path, {})


def test_files_of_every_format_are_cut_out_and_bad_ones_are_told(shell: Shell) -> None:
    photos = shell.folder / "photos"
    photos.mkdir()
    shutil.copy(ROCKET, photos / "rocket.jpg")
    with Image.open(COFFEE) as coffee:
        coffee.save(photos / "moving.gif")
        coffee.save(photos / "small.webp")
        half = coffee.convert("RGBA")
    half.paste((0, 0, 0, 0), (0, 0, 300, 400))
    half.save(photos / "half.png")
    (photos / "broken.jpg").write_bytes(ROCKET.read_bytes()[:5000])
    (photos / "folder.jpg").mkdir()
    shutil.copy(ROCKET, photos / "taken.jpg")
    results = shell.folder / "results"
    (results / "taken.png").mkdir(parents=True)

    ended = shell.run("local photos/*.* nowhere.jpg -o results --overwrite --json")

    assert ended.status == 1
    done = {line["file"]: line for line in ended.lines if line["status"] == "done"}
    failed = {line["file"]: line["code"] for line in ended.lines if line["status"] == "failed"}
    assert set(done) == {
        f"photos/{n}" for n in ("rocket.jpg", "moving.gif", "small.webp", "half.png")
    }
    assert failed == {
        "photos/broken.jpg": "unsupported-image",
        "photos/folder.jpg": "source-not-found",
        "nowhere.jpg": "source-not-found",
        "photos/taken.jpg": "storage-rejected",
    }
    assert ended.summary["done"] == 4
    assert sum(ended.summary["failed"].values()) == 4
    assert {path.name for path in results.iterdir()} == {
        *("rocket.png", "moving.png", "small.png", "half.png", "taken.png")
    }
    for line in done.values():
        with Image.open(shell.folder / line["output"]) as cutout:
            assert (cutout.format, cutout.mode) == ("PNG", "RGBA")
            assert cutout.size == (line["width"], line["height"])
            alpha = np.asarray(cutout)[:, :, 3]
            assert alpha.mean() / 255 == pytest.approx(line["coverage"], abs=1e-3)
    with Image.open(results / "half.png") as cutout:
        assert not np.asarray(cutout)[:, :300].any()  # what was transparent stays so


def test_the_quickest_look_says_where_the_cutout_is_and_keeps_what_is_there(shell: Shell) -> None:
    for name in ("photo.jpg", "old.jpg"):
        shutil.copy(ROCKET, shell.folder / name)
    (shell.folder / "cutouts").mkdir()
    existing = shell.folder / "cutouts" / "old.png"
    existing.write_bytes(b"made by hand")

    ended = shell.run("local photo.jpg old.jpg")

    assert (ended.status, ended.err) == (0, "")
    skipped, done, summary = ended.out.splitlines()
    assert skipped == "skipped  old.jpg  cutouts/old.png is there already (--overwrite)"
    assert existing.read_bytes() == b"made by hand"
    assert done.startswith("done     photo.jpg  640×427, ")
    assert done.endswith("→ cutouts/photo.png")
    assert summary.startswith("1 done, 1 skipped, 0 failed, in ")
    assert "\x1b" not in ended.out


@pytest.mark.parametrize(
    ("command", "said"),
    [
        ("local a.png -o .", "a.png would be overwritten: choose another folder by -o."),
        ("local a.png b/a.jpg", "a.png and b/a.jpg would both become cutouts/a.png."),
        ("local b/a.jpg -o a.png", "a.png/ can't be made: File exists."),
        ("local", "the following arguments are required: FILE"),
        ("local a.png --model best", "invalid choice: 'best'"),
    ],
)
def test_a_call_that_can_not_be_meant_is_refused(shell: Shell, command: str, said: str) -> None:
    (shell.folder / "b").mkdir()
    (shell.folder / "a.png").write_bytes(b"kept")

    ended = shell.run(command)

    assert (ended.status, ended.out) == (2, "")
    assert said in ended.err
    assert (shell.folder / "a.png").read_bytes() == b"kept"


def test_after_ctrl_c_every_file_is_whole_and_the_same_call_does_the_rest(shell: Shell) -> None:
    photos, cutouts = shell.folder / "photos", shell.folder / "cutouts"
    photos.mkdir()
    for number in range(8):
        shutil.copy(ROCKET, photos / f"{number:02}.jpg")

    def some_are_done() -> bool:
        return len(list(cutouts.glob("[!.]*.png"))) >= 2

    ended = shell.stopped("local photos/*.jpg", signal.SIGINT, some_are_done)

    assert ended.status == 130
    assert "Stopped: what is not done is as it was." in ended.out
    made = {path.name: path.read_bytes() for path in cutouts.iterdir()}
    assert 2 <= len(made) < 8
    for name, png in made.items():
        assert re.fullmatch(r"\d\d\.png", name)
        with Image.open(io.BytesIO(png)) as cutout:
            cutout.load()
    ended = shell.run("local photos/*.jpg --json")
    assert (ended.status, ended.summary["skipped"]) == (0, len(made))
    assert ended.summary["done"] == 8 - len(made)


@pytest.mark.parametrize("no_colour", [False, True], ids=["colours", "NO_COLOR"])
def test_a_terminal_shows_a_bar_and_colours_unless_they_are_not_wanted(
    shell: Shell, no_colour: bool
) -> None:
    shutil.copy(ROCKET, shell.folder / "photo.jpg")
    (shell.folder / "photo.png").write_bytes(b"to be overwritten")

    settings = {"NO_COLOR": "1"} if no_colour else {}
    shown = shell.on_terminal("local photo.jpg -o . --overwrite", **settings)

    assert "1 of 1" in shown
    assert "1 done, 0 failed" in shown
    assert (COLOUR.search(shown) is None) == no_colour
    with Image.open(shell.folder / "photo.png") as cutout:
        assert cutout.mode == "RGBA"
