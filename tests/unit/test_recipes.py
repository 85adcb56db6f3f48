"""The setting RENDITIONS: what it says, and where it is wrong."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from webhook.recipes import FORMATS, RenditionRecipe, media_type_of, parse_renditions

# The setting of docs/renditions.md, of which a test there is made, too.
FOUR = (
    "web.webp?max=1600 shop.jpg?background=ffffff&crop=subject&margin=5%&size=2000x2000 "
    "thumb.webp?max=320&crop=subject mask.png?channel=alpha"
)


def test_the_four_of_the_documentation() -> None:
    white = (255, 255, 255)
    assert parse_renditions(FOUR) == (
        RenditionRecipe("web.webp", "WEBP", max_px=1600, quality=80),
        RenditionRecipe(
            "shop.jpg",
            "JPEG",
            canvas=(2000, 2000),
            crops=True,
            margin=5,
            margin_unit="%",
            background=white,
            quality=85,
        ),
        RenditionRecipe("thumb.webp", "WEBP", max_px=320, crops=True, quality=80),
        RenditionRecipe("mask.png", "PNG", alpha_alone=True),
    )


def test_nothing_asks_for_nothing() -> None:
    assert parse_renditions("") == parse_renditions("  \n") == ()


def test_what_is_usual_need_not_be_said() -> None:
    (short,) = parse_renditions("a.jpg?max=10")
    (long,) = parse_renditions("a.jpg?quality=85&background=FFFFFF&max=10")
    assert short == long
    assert short.text == long.text == "a.jpg?max=10&background=ffffff&quality=85"


def test_a_grey_jpeg_has_no_background() -> None:
    (mask,) = parse_renditions("mask.jpg?channel=alpha")
    assert mask.background is None


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("trans.png", '1: "trans.png" is the name of the cut-out itself'),
        ("Trans.PNG", '1: "Trans.PNG" is the name of the cut-out itself'),
        ("a/b.png", '1: "a/b.png" is no name of a file'),
        ("../b.png", '1: "../b.png" is no name of a file'),
        (".png", '1: ".png" is no name of a file'),
        ("ä.png", '1: "ä.png" is no name of a file'),
        ("?max=3", '1: "" is no name of a file'),
        ("a.tiff", '1: "a.tiff" must end with one of .png, .webp, .jpg, .jpeg, .avif'),
        ("a.png A.png", '7: "A.png" is named twice'),
        ("a.png?", '7: there is no ""; known: max, size, crop'),
        ("a.png?max=3&", '13: there is no ""'),
        ("a.png?maxx=3", '7: there is no "maxx"'),
        ("a.png?max", "7: max=: must be a whole number from 1 to 16,383"),
        ("a.png?max=0", "7: max=0: must be a whole number"),
        ("a.png?max=16384", "7: max=16384: must be a whole number"),
        ("a.png?max=²", "7: max=²: must be a whole number"),
        ("a.png?max=-3", "7: max=-3: must be a whole number"),
        ("a.png?max=3&max=4", '13: "max" is given twice'),
        ("a.png?size=3", "7: size=3: must be width and height, such as 800x600"),
        ("a.png?size=3x", "7: size=3x: must be a whole number"),
        ("a.png?size=9000x9000", "7: size=9000x9000: has more than 50,000,000 pixels"),
        ("a.png?max=3&size=3x3", "7: max and size exclude each other"),
        ("a.png?crop=face", "7: crop=face: must be subject"),
        ("a.png?margin=5%", "7: margin needs crop=subject"),
        ("a.png?crop=subject&margin=5", "20: margin=5: must be per cent or pixels"),
        ("a.png?crop=subject&margin=101%", "20: margin=101%: must be a whole number from 0"),
        ("a.png?background=fff", "7: background=fff: must be clear, or a colour of six"),
        ("a.jpg?background=clear", "7: JPEG can't be clear"),
        ("a.png?channel=red", "7: channel=red: must be alpha"),
        ("a.png?channel=alpha&background=ffffff", "21: channel=alpha has no background"),
        ("a.png?quality=80", "7: PNG has no quality"),
        ("a.webp?quality=0", "8: quality=0: must be a whole number from 1 to 100"),
        ("a.avif?quality=lossless", "8: AVIF can't be lossless here"),
        (" ".join(f"{number}.png" for number in range(17)), "1: 17 renditions are too many"),
    ],
)
def test_a_mistake_is_told_with_its_place(text: str, told: str) -> None:
    with pytest.raises(ValueError, match=re.escape(f"at character {told}")):
        parse_renditions(text)


def test_every_mistake_is_told() -> None:
    with pytest.raises(ValueError, match=r"^at character 7: .*; at character 20: .*; .* 30: ."):
        parse_renditions("a.png?max=0 b.webp?x=1&max=8 trans.png")


def options(file_format: str) -> st.SearchStrategy[dict[str, str]]:
    sides = st.integers(1, 7000).map(str)
    colours = st.from_regex(r"[0-9a-f]{6}", fullmatch=True)
    size = st.one_of(
        st.just({}),
        st.builds(lambda side: {"max": side}, sides),
        st.builds(lambda width, height: {"size": f"{width}x{height}"}, sides, sides),
    )
    margins = st.one_of(
        st.integers(0, 100).map("{}%".format), st.integers(0, 9999).map("{}px".format)
    )
    crop = st.one_of(
        st.just({}),
        st.just({"crop": "subject"}),
        st.builds(lambda margin: {"crop": "subject", "margin": margin}, margins),
    )
    behind = st.one_of(
        st.just({}),
        st.just({"channel": "alpha"}),
        st.builds(lambda colour: {"background": colour}, colours),
    )
    numbers = st.builds(lambda number: {"quality": number}, st.integers(1, 100).map(str))
    quality = {
        "PNG": st.just({}),
        "WEBP": st.one_of(st.just({}), numbers, st.just({"quality": "lossless"})),
    }.get(file_format, st.one_of(st.just({}), numbers))
    return st.builds(
        lambda *parts: {k: v for p in parts for k, v in p.items()}, size, crop, behind, quality
    )


@st.composite
def words(draw: st.DrawFn) -> str:
    stem = draw(st.from_regex(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,20}", fullmatch=True))
    suffix = draw(st.sampled_from(sorted(FORMATS)))
    chosen = list(draw(options(FORMATS[suffix])).items())
    told = "&".join(f"{key}={value}" for key, value in draw(st.permutations(chosen)))
    return f"{stem}{suffix}?{told}" if told else f"{stem}{suffix}"


@given(words().filter(lambda word: not word.lower().startswith("trans.png")))
def test_a_recipe_in_its_one_spelling_is_the_same_recipe(word: str) -> None:
    (recipe,) = parse_renditions(word)
    assert parse_renditions(recipe.text) == (recipe,)
    assert recipe.text.isascii()
    assert "/" not in recipe.name
    assert media_type_of(f"img/1/{recipe.name}").startswith("image/")


@given(st.text(st.sampled_from("abx.png?max=&size3:/%\n é"), max_size=60))
def test_whatever_is_written_is_recipes_or_a_mistake_with_a_place(text: str) -> None:
    try:
        recipes = parse_renditions(text)
    except ValueError as exc:
        places = [int(place) for place in re.findall(r"at character (\d+): ", str(exc))]
        assert places
        assert all(1 <= place <= len(text) + 1 for place in places)
    else:
        assert len(recipes) == len(text.split())
