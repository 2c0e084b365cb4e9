"""The page at `/` in headless Chromium: what a person does there, and what is shown."""

import time

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from kapps.serving.savedmodel import out_of_distribution
from serving.server import plain_models
from serving.server.browser import CHROMIUM, Browser
from serving.server.plain_models import spec

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium")


def classifier(root, version):
    """PNG files -> how bright they are; and numbers of a table."""

    def brightness(image_bytes):
        pixels = tf.map_fn(
            lambda b: tf.reduce_mean(tf.cast(tf.io.decode_png(b, 1), tf.float32) / 255),
            image_bytes,
            fn_output_signature=tf.float32,
        )
        chances = tf.stack([pixels, 1 - pixels], axis=1)
        return {"probabilities": chances, out_of_distribution.OUTPUT: 10 * pixels}

    directory = plain_models.write(
        root, version,
        {
            "serving_default": (lambda x: {"y": x}, [spec((None, 1), tf.float32, "x")]),
            "from_bytes": (brightness, [spec((None,), tf.string, "image_bytes")]),
        },
    )  # fmt: skip
    (directory / "assets").mkdir(exist_ok=True)
    (directory / "assets" / "labels.txt").write_text("light\ndark\n")
    (directory / "model_card.md").write_text("# Light or dark\n")
    (directory / out_of_distribution.FILE).parent.mkdir(exist_ok=True)
    (directory / out_of_distribution.FILE).write_text('{"threshold": 7}')


def explained(root, version):
    """PNG files of 4 x 4 -> one of two; where the image is light it says so."""

    def decoded(image_bytes):
        return tf.map_fn(
            lambda b: tf.reshape(tf.io.decode_png(b, 1), (4, 4, 1)),
            image_bytes,
            fn_output_signature=tf.uint8,
        )

    def classify(image_bytes):
        return {"probabilities": tf.tile([[0.25, 0.75]], [tf.size(image_bytes), 1])}

    def explain(image_bytes):
        image = decoded(image_bytes)
        heat = tf.cast(image[..., 0], tf.float32) / 255
        return {"image": image, "heat_map": heat, "label": tf.fill(tf.shape(image_bytes), "day")}

    files = [spec((None,), tf.string, "image_bytes")]
    functions = {"serving_default": (classify, files), "from_bytes": (classify, files)}
    plain_models.write(root, version, functions | {"explain": (explain, files)})


def decoder(root, version):
    """A picture whose grey is the first latent, -3 to 3."""

    def decode(z):
        grey = tf.cast(tf.clip_by_value(127.5 + 42.5 * z[:, 0], 0, 255), tf.uint8)
        return {"image": tf.ones((1, 4, 4, 1), tf.uint8) * grey[:, None, None, None]}

    functions = (decode, [spec((None, 3), tf.float32, "z")])
    plain_models.write(root, version, {"serving_default": functions, "decode": functions})


def writer(root, version):
    def generate(prompt, length, temperature, top_k, seed):
        letters = tf.strings.reduce_join(tf.fill([length], "x"))
        return {
            "text": tf.strings.join([prompt, letters]),
            "continuation": tf.fill(tf.shape(prompt), letters),
        }

    arguments = [spec((None,), tf.string, "prompt")]
    arguments += [spec((), dtype, name) for name, dtype in (
        ("length", tf.int32), ("temperature", tf.float32), ("top_k", tf.int32), ("seed", tf.int32)
    )]  # fmt: skip
    functions = (generate, arguments)
    plain_models.write(root, version, {"serving_default": functions, "generate": functions})


def table(root, version):
    def ask(age, town):
        missing = tf.math.is_nan(age)
        return {"prediction": tf.where(missing, -1.0, age) + tf.cast(town == "Bern", tf.float32)}

    columns = [spec(None, tf.float32, "age"), spec(None, tf.string, "town")]
    plain_models.write(root, version, {"serving_default": (ask, columns)})


@pytest.fixture(scope="module")
def models(server, served_root):
    for name, build in (("light", classifier), ("seen", explained), ("latent", decoder),
                        ("words", writer), ("people", table)):  # fmt: skip
        plain_models.publish(served_root, name, 1, build)
    for name in ("light", "seen", "latent", "words", "people"):
        path = f"/v1/models/{name}/metadata"
        until = time.monotonic() + 180
        while server.get(path)[0] != 200:
            assert time.monotonic() < until
            time.sleep(0.1)


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    browser = Browser(tmp_path_factory.mktemp("profile"))
    yield browser
    browser.close()


@pytest.fixture
def page(models, server, browser):
    def open_page(name):
        browser.open("about:blank")
        browser.open(f"{server.url}/#{name}")
        browser.wait("document.querySelector('#panels')?.children.length")
        return browser

    yield open_page
    assert browser.errors == []


def shown(page, selector):
    return page.run(f"document.querySelector('{selector}').innerText")


@pytest.mark.slow
def test_a_picture_is_named_and_explained(page, tmp_path):
    left = np.zeros((70, 70), np.uint8)
    left[:, :35] = 255
    Image.fromarray(left).save(tmp_path / "left.png")
    page = page("light")
    page.choose_file("#classify input", tmp_path / "left.png")
    page.wait("document.querySelectorAll('#classify meter').length == 2")
    assert shown(page, "#classify table").split() == ["light", "50.0", "%", "dark", "50.0", "%"]
    assert shown(page, "#classify .like").startswith("Out-of-distribution score 5.00: as 95 %")
    page.run("document.querySelector('#classify p button').click()")
    page.wait("document.querySelector('#classify small')")
    # Covering what is light makes it less light: red there, and nothing where it is dark.
    context = "document.querySelector('canvas.picture').getContext('2d')"
    pixel = f"[...{context}.getImageData({{}},35,1,1).data]"
    assert page.run(pixel.format(65)) == [0, 0, 0, 255]
    red, green, _, _ = page.run(pixel.format(5))
    assert red > green + 50
    page.wait("document.getElementById('card').textContent == '# Light or dark\\n'")
    assert "light, version 1" in shown(page, "#versions")


@pytest.mark.slow
def test_a_heat_map_that_is_published_is_laid_over_the_picture(page, tmp_path):
    pixels = np.zeros((4, 4), np.uint8)
    pixels[1, 2] = 255
    Image.fromarray(pixels).save(tmp_path / "spot.png")
    page = page("seen")
    page.choose_file("#classify input", tmp_path / "spot.png")
    page.wait("document.querySelector('#classify small')")
    assert shown(page, "#classify small") == "Grad-CAM. Red: this part speaks for day."
    context = "document.querySelector('canvas.picture').getContext('2d')"
    pixel = f"[...{context}.getImageData({{}},1,1,1).data]"
    assert page.run(pixel.format(0)) == [0, 0, 0, 255]
    # 255 and (220, 30, 30) at 0.65.
    np.testing.assert_allclose(page.run(pixel.format(2)), [232, 109, 109, 255], atol=1)
    assert not page.run("document.querySelector('#classify p button')")


@pytest.mark.slow
def test_a_picture_unlike_those_of_training_is_called_so(page, tmp_path):
    Image.fromarray(np.full((70, 70), 255, np.uint8)).save(tmp_path / "white.png")
    page = page("light")
    page.choose_file("#classify input", tmp_path / "white.png")
    page.wait("document.querySelector('#classify .unlike')")
    said = shown(page, "#classify .unlike")
    assert said.startswith("Out-of-distribution score 10.0: unlike") and said.endswith("7.00")


@pytest.mark.slow
def test_a_slider_moves_the_picture(page):
    page = page("latent")
    grey = (
        "document.querySelector('#latent canvas')?.getContext('2d').getImageData(0,0,1,1).data[0]"
    )
    page.wait(f"{grey} == 127")
    page.run(
        "(() => { const k = document.querySelector('#latent input[type=range]');"
        "k.value = 3; k.dispatchEvent(new Event('input')); })()"
    )
    page.wait(f"{grey} == 255")


@pytest.mark.slow
def test_a_text_is_gone_on_with(page):
    page = page("words")
    page.run(
        "(() => { const s = document.querySelector('#write');"
        "s.querySelector('textarea').value = 'Ab';"
        "s.querySelector('input').value = 4; s.querySelector('button').click(); })()"
    )
    page.wait("document.querySelector('#write .text').textContent == 'Abxxxx'")


@pytest.mark.slow
def test_a_row_is_pasted_and_missing_values_stay_missing(page):
    page = page("people")
    for row, said in (("30\\tBern", 31), (",Basel", -1)):
        page.run(
            "(() => { const p = document.querySelector('#row input.wide');"
            f"p.value = '{row}'; p.dispatchEvent(new Event('input'));"
            "document.querySelector('#row button').click(); })()"
        )
        page.wait(f"document.querySelector('#row pre')?.textContent.includes('\\n {said}')")


def test_what_is_wrong_is_said(page):
    page = page("people")
    page.run(
        "(() => { document.querySelector('#row input[name=age]').value = 'old';"
        "document.querySelector('#row button').click(); })()"
    )
    page.wait("document.querySelector('#status.wrong')?.textContent.includes('is not a number')")


def test_what_there_is_over_http(models, server, browser):
    browser.open(f"{server.url}/api.html")
    browser.wait("document.querySelectorAll('#operations section').length > 8")
    text = browser.run("document.getElementById('operations').textContent")
    assert "POST /v1/models/latent:predict" in text and "Ask latent" in text
    assert browser.errors == []
