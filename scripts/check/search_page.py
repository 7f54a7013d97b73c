#!/usr/bin/env python3
"""Uses the page of `mert-search serve` in a real Chromium without a window, as a person would.

    scripts/check/search_page.py [--catalogue FOLDER [--model MODEL] [--seed TEXT]] [--bin target/release] [--chromium FILE] [--screenshots FOLDER]

Without --catalogue a small one is made: generated music with tags (a long title, one from right to left, one that would
be markup, files without tags, an AIFF file, which browsers do not play) and the tiny model of fixtures/. The page is
searched, played, sought in, re-ranked with a slider and by a learned metric, asked for reasons, searched from a file that
is sent to it (with the model), filtered, shown as a map, used with the keyboard alone, at a width of 360 pixels, light and
dark; every view at 320, 360 and 390 pixels, where nothing may be cut off and no gap may open. In the generated catalogue a file is missing, and tracks are added while it is served; a catalogue of one track is
looked at as well. An error in the console and a request to another host are failures.

Chromium is the system's (Debian: `apt-get install chromium`); it is driven with playwright, which downloads none. The
Python environment is made on the first call and kept in target/. Prints what was checked. Exit status: 0 all as it
should be, 1 not so, 2 it could not be checked.
"""

import argparse
import array
import contextlib
import json
import math
import os
import random
import re
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from environment import ROOT, TARGET, Failed, make_venv, run, say  # noqa: E402

PINS = ["playwright==1.65.2"]
INSIDE = "MERT_CHECK_SEARCH_PAGE_INSIDE"
RATE = 24000
SECONDS = 24
LONG = "A title that goes on and on, as those of some symphonies do, with movements, keys, opus numbers and the year"
RIGHT_TO_LEFT = "\u05e9\u05d9\u05e8 \u05dc\u05d9\u05dc\u05d4 \u05d0\u05d7\u05e8\u05d5\u05df"
MARKUP = "<img src=x onerror=alert(1)>"


def parse():
    about, _, rest = __doc__.partition("\n\n")
    parser = argparse.ArgumentParser(
        description=about, epilog=rest, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--catalogue", type=Path, metavar="FOLDER")
    parser.add_argument("--model", type=Path, metavar="MODEL", help="the model of --catalogue, to search from a file that is sent")
    parser.add_argument("--seed", default="a", metavar="TEXT", help="what is searched for in --catalogue (default: %(default)s)")
    parser.add_argument("--bin", type=Path, default=TARGET / "release", help="of mert-search and mert-convert")
    parser.add_argument("--chromium", metavar="FILE", default=shutil.which("chromium") or shutil.which("google-chrome"))
    parser.add_argument("--screenshots", type=Path, metavar="FOLDER", help="write a picture of each step")
    parser.add_argument("--python", type=Path, help="an interpreter that has playwright")
    return parser.parse_args()


# --- the catalogue --------------------------------------------------------------------------------


def sound(seed):
    """A piece of three voices and noise, of its own for each seed, as 16-bit samples: a phrase of 2 s, over and over."""
    chance = random.Random(seed)
    voices = [(chance.uniform(60, 1200), chance.uniform(0.1, 0.4), chance.uniform(0.2, 4)) for _ in range(3)]
    noise = chance.uniform(0, 0.08)
    phrase = array.array("h")
    for index in range(RATE * 2):
        now = index / RATE
        voiced = (level * math.sin(6.2832 * tone * now) * (0.6 + 0.4 * math.sin(6.2832 * beat * now)) for tone, level, beat in voices)
        phrase.append(int(20000 * max(-1, min(1, sum(voiced) + noise * chance.uniform(-1, 1)))))
    return phrase * (SECONDS // 2)


def write_wav(path, samples, tags):
    """A WAV file whose LIST chunk has title, artist, album and genre."""

    def chunk(name, data):
        return name + struct.pack("<I", len(data)) + data + b"\0" * (len(data) % 2)

    names = {"title": b"INAM", "artist": b"IART", "album": b"IPRD", "genre": b"IGNR"}
    info = b"".join(chunk(names[name], text.encode() + b"\0") for name, text in tags.items())
    form = struct.pack("<HHIIHH", 1, 1, RATE, 2 * RATE, 2, 16)
    body = b"WAVE" + chunk(b"fmt ", form)
    if info:
        body += chunk(b"LIST", b"INFO" + info)
    path.write_bytes(chunk(b"RIFF", body + chunk(b"data", samples.tobytes())))


def write_aiff(path, samples):
    """An AIFF file without tags."""
    swapped = array.array("h", samples)
    swapped.byteswap()
    data = swapped.tobytes()
    # The rate as an 80-bit float: 24000 = 1.46484375 * 2^14.
    common = struct.pack(">hIh", 1, len(samples), 16) + bytes.fromhex("400dbb80000000000000")
    body = b"AIFF" + b"COMM" + struct.pack(">I", len(common)) + common
    body += b"SSND" + struct.pack(">III", len(data) + 8, 0, 0) + data
    path.write_bytes(b"FORM" + struct.pack(">I", len(body)) + body)


def write_metric(path):
    """A metric as `mert-search learn` writes it, of random factors; its figures are made up, for the page to show."""
    chance = random.Random(15)
    values = struct.pack("<192d", *(math.exp(chance.gauss(0, 1.5)) for _ in range(192)))
    interval = lambda value: {"value": value, "low": value - 0.02, "high": value + 0.02}  # noqa: E731
    gain = {"model": "diagonal", "held_out": 120, "before": interval(0.61), "after": interval(0.67), "gain": interval(0.06)}
    origin = {
        "version": 1, "settings": None, "center": True, "drop_components": 0,
        "groups": [{"name": name, "weight": 1 / 3} for name in ("2", "6", "10")],
        "learned": {"figure": "triplets answered right", "chosen": "diagonal", "level": 0.975, "models": [gain]},
    }
    header = json.dumps({
        "__metadata__": {"mert-search metric": json.dumps(origin)},
        "diagonal": {"dtype": "F64", "shape": [192], "data_offsets": [0, len(values)]},
    }).encode()
    header += b" " * (-len(header) % 8)
    path.write_bytes(struct.pack("<Q", len(header)) + header + values)


def make_catalogue(folder, binaries):
    """A catalogue of generated music, in which a file is missing; its model; a metric of it."""
    music = folder / "music"
    music.mkdir()
    titles = {3: LONG, 5: RIGHT_TO_LEFT, 7: MARKUP}
    for number in range(40):
        tags = {
            "title": titles.get(number, f"Piece {number}"),
            "artist": f"Ensemble {number % 7}",
            "album": f"Collection {number % 5}",
            "genre": ["Ambient", "Jazz", "Folk"][number % 3],
        }
        write_wav(music / f"{number:02}.wav", sound(number), {} if number in (11, 12) else tags)
    write_aiff(music / "unplayable.aiff", sound(90))
    model = folder / "tiny.safetensors"
    run(binaries / "mert-convert", ROOT / "fixtures/mert-tiny/pytorch_model.bin", model)
    catalogue = folder / "catalogue"
    run(binaries / "mert-search", "add", catalogue, music, "--model", model, "--layers", "2,6,10")
    (music / "39.wav").unlink()
    metric = folder / "warm.safetensors"
    write_metric(metric)
    return catalogue, model, metric


# --- the page -------------------------------------------------------------------------------------


class Page:
    """A page in Chromium, with what went wrong in it."""

    made = 0

    def __init__(self, browser, address, screenshots, **options):
        self.address, self.screenshots = address, screenshots
        self.faults, self.checked = [], 0
        Page.made += 1
        self.number = Page.made
        self.page = browser.new_page(**options)
        self.page.set_default_timeout(15_000)
        self.page.on("console", lambda message: message.type in ("error", "warning") and self.fault(message.text))
        self.page.on("pageerror", lambda error: self.fault(str(error)))
        self.page.on("request", self.request)
        self.page.on("dialog", lambda dialog: (self.fault(f"dialog: {dialog.message}"), dialog.dismiss()))

    def fault(self, text):
        self.faults.append(text)

    def request(self, request):
        if not request.url.startswith((self.address, "data:", "blob:")):
            self.fault(f"a request to {request.url}")

    def check(self, condition, what):
        self.checked += 1
        say(f"  {'ok' if condition else 'NO'}  {what}")
        if not condition:
            self.fault(what)

    def picture(self, name):
        if self.screenshots:
            self.screenshots.mkdir(parents=True, exist_ok=True)
            self.page.wait_for_timeout(200)
            self.page.screenshot(path=self.screenshots / f"{name}.png")

    def titles(self):
        return self.page.locator(".hit .name bdi").all_inner_texts()

    def searched(self):
        self.page.wait_for_selector('.hits:not([aria-busy="true"]) .hit')

    def search(self, text):
        self.page.fill("#search", text)
        self.page.wait_for_selector('#searchbox [role="option"]')
        self.page.keyboard.press("Enter")
        self.searched()

    def fits(self):
        return self.page.evaluate("document.documentElement.scrollWidth <= window.innerWidth") and not self.beyond()

    def beyond(self):
        """What reaches over a side of the screen, and rows that have to be scrolled sideways; a text that ends in … does not."""
        return self.page.evaluate(
            """() => {
              const out = [];
              for (const node of document.body.querySelectorAll('*')) {
                if (!node.getClientRects().length || node.closest('.sr, .skip, svg, [hidden]')) continue;
                const { left, right, width } = node.getBoundingClientRect();
                const isCut = (parent) => parent && (getComputedStyle(parent).textOverflow === 'ellipsis' || isCut(parent.parentElement));
                const isWide = width > 0 && (left < -0.5 || right > innerWidth + 0.5) && !isCut(node.parentElement);
                const isScrolled = node.matches('.tabs') && node.scrollWidth > node.clientWidth;
                if (isWide || isScrolled) out.push(`${node.tagName.toLowerCase()}.${node.className || node.id}: ${Math.round(left)} to ${Math.round(right)}`);
              }
              return out.slice(0, 4);
            }"""
        )

    def gap(self):
        """The pixels between the controls and the views below them."""
        return self.page.evaluate(
            "document.querySelector('.tabs').getBoundingClientRect().top - document.getElementById('adjust').getBoundingClientRect().bottom"
        )


def audio(page, expression):
    return page.evaluate(f"document.querySelector('audio').{expression}")


def until(page, expression, what):
    """Waits up to 20 s until an expression is true. The page's policy forbids what playwright's own waiting evaluates."""
    for _ in range(200):
        if page.page.evaluate(f"Boolean({expression})"):
            return page.check(True, what)
        page.page.wait_for_timeout(100)
    page.check(False, what)


def search_and_play(view, seed):
    page = view.page
    page.goto(view.address)
    page.wait_for_selector(".samples button")
    view.check(page.locator(".samples button").count() >= 6, "an empty search shows songs to start from")
    view.picture("start")
    view.search(seed)
    titles = view.titles()
    view.check(len(titles) >= 5, f"{len(titles)} hits")
    view.check("1 result" in page.inner_text("#status") or "results" in page.inner_text("#status"), "the number of results is announced")
    view.picture("results")
    page.locator(".hit [data-action=play]").first.click()
    until(view, "document.querySelector('audio')?.currentTime > 0.2", "a hit plays")
    page.locator(".player input[type=range]").evaluate(
        "slider => { slider.value = Number(slider.max) / 2; slider.dispatchEvent(new Event('input', {bubbles: true})); }"
    )
    until(view, "(() => { const a = document.querySelector('audio'); return a.currentTime > a.duration / 2 - 0.5 && !a.seeking && a.readyState > 1; })()", "seeking works")
    page.locator(".player button.play").click()
    view.check(audio(page, "paused"), "pausing works")
    return titles


def sliders(view):
    page = view.page
    before = view.titles()
    requests = []
    page.on("request", lambda request: "/search?" in request.url and requests.append(request.url))
    slider = page.locator("#layers input[type=range]").first
    slider.evaluate(
        "async slider => { for (const value of [80, 60, 40, 20, 0]) {"
        " slider.value = value; slider.dispatchEvent(new Event('input', {bubbles: true})); await new Promise(r => setTimeout(r, 10)); } }"
    )
    page.wait_for_timeout(600)
    view.searched()
    after = view.titles()
    view.check(before != after, "moving a slider changes the order")
    view.check(0 < len(requests) < 5, f"five movements made {len(requests)} request(s)")
    view.check("layers=" in page.url, "the weights are in the address")
    page.reload()
    view.searched()
    view.check(view.titles() == after, "the address brings the same hits back")
    open_controls(page)
    page.click("#layers-reset")
    page.wait_for_timeout(500)
    view.searched()
    view.check(view.titles() == before, "resetting the weights brings the order back")
    page.locator("#variety").evaluate("slider => { slider.value = 1; slider.dispatchEvent(new Event('input', {bubbles: true})); }")
    page.wait_for_timeout(500)
    view.searched()
    view.check(view.titles() != before, "variety changes the hits")
    page.locator("#variety").evaluate("slider => { slider.value = 0; slider.dispatchEvent(new Event('input', {bubbles: true})); }")
    page.wait_for_timeout(500)
    view.searched()


def open_controls(page):
    """On a narrow screen the controls are closed when the page is loaded."""
    if not page.is_visible("#layers-reset"):
        page.click("#adjust > summary")


def number(text):
    return float(text.replace("\u2212", "-").replace("+", ""))


def reasons(view):
    page = view.page
    page.locator(".hit [data-action=why]").first.click()
    page.wait_for_selector(".reasons .pairs li")
    table = page.locator(".reasons table").first
    figures = [number(text) for text in table.locator("tbody td.figure:last-child").all_inner_texts()]
    total = sum(figures[:-1])
    view.check(abs(total - figures[-1]) < 0.0005 * len(figures), f"the terms sum to the cosine: {total:.3f} and {figures[-1]:.3f}")
    page.locator(".reasons button.side-a").first.click()
    until(view, "document.querySelector('audio')?.src.includes('/passage?') && document.querySelector('audio').currentTime > 0.1", "passage A plays")
    page.locator(".reasons button.side-b").first.click()
    until(view, "document.querySelector('.side-b').classList.contains('on') && document.querySelector('audio').currentTime > 0.1", "passage B plays")
    view.check(audio(page, "duration") < 11, "a passage is as long as it is said to be")
    page.locator(".reasons select").first.select_option(index=1)
    page.wait_for_selector(".reasons section:last-child table")
    view.check(page.locator(".reasons section:last-child .bars").count() >= 1, "another hit can be compared with")
    page.locator(".hit").first.scroll_into_view_if_needed()
    page.evaluate("document.querySelector('.hit').scrollIntoView({block: 'start'}); scrollBy(0, -90)")
    page.locator(".player button.play").click()
    view.picture("reasons")
    page.locator(".hit [data-action=why]").first.click()
    view.check(page.locator(".reasons:visible").count() == 0, "reasons close again")
    page.evaluate("scrollTo(0, 0)")


def forgive(view, text):
    """Refusals are in the console of the browser, which is as it should be."""
    view.faults = [fault for fault in view.faults if text not in fault]


def own_file(view, folder):
    """Searches from a file that is sent, and listens to both sides of a pair of passages."""
    page = view.page
    file = folder / f"my song {view.number}.wav"
    write_wav(file, sound(500 + view.number), {"title": f"Mine {view.number}", "artist": "Myself"})
    page.goto(view.address)
    page.wait_for_selector(".samples button")
    view.check(page.is_visible("#upload"), "there is a button for a file of one's own")
    page.set_input_files("#upload-file", file)
    page.wait_for_selector(".upload progress, .chip", state="attached")
    page.wait_for_selector(".chip")
    view.searched()
    view.check(f"Mine {view.number} — your file" in page.locator(".chip .label").inner_text(), "the file is what is searched from")
    view.check(page.locator(".hit").count() >= 5 and page.locator(".upload").count() == 0, "it has hits, and the progress is gone")
    page.locator(".hit [data-action=why]").first.click()
    page.wait_for_selector(".reasons .pairs li")
    page.locator(".reasons button.side-a").nth(1).click()
    until(view, "document.querySelector('audio')?.src.startsWith('blob:') && document.querySelector('audio').currentTime > 0.1", "passage A plays from the browser's own copy")
    stated = page.locator(".reasons button.side-a").nth(1).get_attribute("aria-label")
    start = [int(part) for part in re.search(r"(\d+):(\d+) to", stated).groups()]
    now = audio(page, "currentTime")
    view.check(60 * start[0] + start[1] <= now + 0.01 < 60 * start[0] + start[1] + 11, f"it plays from where the passage is: {now:.1f} s")
    page.locator(".reasons button.side-b").first.click()
    until(view, "document.querySelector('audio')?.src.includes('/passage?') && document.querySelector('audio').currentTime > 0.1", "passage B plays")
    page.locator(".player button.play").click()
    view.picture("own-file")
    view.check(view.fits(), "nothing is wider than the page")
    page.reload()
    view.searched()
    view.check(page.locator(".chip").count() == 1, "the address brings the search back")
    page.locator(".chip button").first.click()
    page.wait_for_selector(".toast")
    view.check("choose the file again" in page.inner_text("#toasts"), "without its audio, which is said")
    notes = folder / "notes.txt"
    notes.write_text("no music")
    page.set_input_files("#upload-file", notes)
    until(view, "document.getElementById('toasts').textContent.includes('notes.txt')", "what is no audio is refused by name")
    forgive(view, "415")
    page.evaluate(
        """() => {
          const data = new DataTransfer();
          data.items.add(new File([new Uint8Array(100)], 'dropped.bin'));
          for (const kind of ['dragenter', 'dragover']) document.body.dispatchEvent(new DragEvent(kind, { dataTransfer: data, bubbles: true, cancelable: true }));
        }"""
    )
    view.check(page.is_visible("#drop"), "a file above the page is asked for")
    view.picture("drop")
    page.evaluate(
        """() => {
          const data = new DataTransfer();
          data.items.add(new File([new Uint8Array(100)], 'dropped.bin'));
          document.body.dispatchEvent(new DragEvent('drop', { dataTransfer: data, bubbles: true, cancelable: true }));
        }"""
    )
    until(view, "document.getElementById('toasts').textContent.includes('dropped.bin') && document.getElementById('drop').hidden", "a file that is dropped is taken")
    page.wait_for_timeout(300)
    forgive(view, "415")


def learned_metric(view, seed):
    page = view.page
    page.goto(view.address)
    page.wait_for_selector(".samples button")
    view.search(seed)
    before = view.titles()
    if not page.is_visible("#metric"):
        page.click("#adjust > summary")
    page.select_option("#metric", "warm")
    page.wait_for_timeout(400)
    view.searched()
    view.check(view.titles() != before, "a metric changes the order")
    view.check("held out: 67.0 %" in page.inner_text("#metric-note"), "its held-out gain is shown")
    view.check(page.locator("#layers input").first.is_disabled(), "the hidden states are its own")
    view.check("metric=warm" in page.url, "it is in the address")
    view.picture("metric")
    page.select_option("#metric", "")
    page.wait_for_timeout(400)
    view.searched()
    view.check(view.titles() == before, "without it the order is back")


def hubs(view):
    """The correction for hubs has no place on a map, which is said there."""
    page = view.page
    # Another fragment alone is not a new page.
    page.goto("about:blank")
    page.goto(f"{view.address}#seed=0&csls=true")
    view.searched()
    page.click("#tab-map")
    until(view, "/CSLS/.test(document.querySelector('#view-map > .hint').textContent)", "the map says that it is drawn without CSLS")


def missing_and_changed(view, change):
    page = view.page
    page.goto(view.address)
    page.wait_for_selector(".samples button")
    view.search("Piece 39")
    page.locator(".chip button").first.click()
    until(view, "document.getElementById('toasts').textContent.includes('39.wav')", "a file that is missing is named")
    forgive(view, "404")
    if change:
        change()
        view.search("Piece 2")
        until(view, "document.getElementById('toasts').textContent.includes('catalogue has changed')", "a change of the catalogue is said")
        view.search("Added later")
        view.check(page.locator(".hit").count() > 5, "what was added is there")


def one_track(browser, arguments, folder, model):
    """A catalogue of one track without tags."""
    music = folder / "one"
    music.mkdir()
    write_wav(music / "<script>alert(1)<script>.wav", sound(1), {})
    catalogue = folder / "one.catalogue"
    run(arguments.bin / "mert-search", "add", catalogue, music, "--model", model, "--layers", "2,6,10")
    with server(arguments, [catalogue]) as address:
        shots = arguments.screenshots and arguments.screenshots / "one"
        view = Page(browser, address, shots, color_scheme="light", viewport={"width": 1280, "height": 860})
        page = view.page
        page.goto(address)
        page.wait_for_selector(".samples button")
        view.check("--model MODEL" in page.inner_text(".empty"), "without a model the page says how files can be sent")
        view.check(not page.is_visible("#upload"), "and has no button for it")
        page.locator(".samples button").first.click()
        page.wait_for_selector(".empty h2")
        view.check("<script>alert(1)<script>" in page.inner_text(".chip .label"), "the name of a file is text")
        view.picture("alone")
        page.click("#tab-map")
        page.wait_for_selector("#view-map")
        page.wait_for_timeout(500)
        view.picture("map")
        forgive(view, "400")
        view.page.close()
    return view


def seeds_and_filters(view):
    page = view.page
    page.locator(".hit [data-action=minus]").nth(1).click()
    page.wait_for_selector(".chip.minus")
    view.searched()
    view.check(page.locator(".chip").count() == 2, "a song to be unlike is a seed")
    page.locator(".chip.minus button").last.click()
    page.wait_for_selector(".chip.minus", state="detached")
    view.searched()
    page.select_option("#filters select.add", "genre")
    page.wait_for_selector(".filter .values")
    page.locator(".filter .values input").first.check()
    until(view, "document.getElementById('where').value.startsWith('genre') && /of/.test(document.getElementById('where-note').textContent)", "a field writes an expression")
    view.searched()
    view.check(re.match(r"\d+ of \d+ songs", page.inner_text("#where-note")) is not None, f"a filter: {page.inner_text('#where-note')}")
    view.picture("filter")
    page.fill("#where", "genre = = 3")
    page.wait_for_selector("#where.invalid")
    view.check("expected" in page.inner_text("#where-note"), "an error of the expression is shown")
    forgive(view, "400 (Bad Request)")
    page.click("#filters-clear")
    page.wait_for_selector("#where:not(.invalid)")
    view.searched()


def path_and_playlist(view, other):
    page = view.page
    page.click("#tab-path")
    page.fill("#path-to", other)
    page.wait_for_selector('#view-path [role="option"]')
    page.keyboard.press("Enter")
    page.wait_for_selector("#view-path .steps li")
    count = page.locator("#view-path .steps li").count()
    view.check(count == 10, f"a path of {count} songs")
    view.picture("path")
    page.click("#view-path >> text=Add all to the playlist")
    page.click("#tab-list")
    view.check(page.locator("#view-list li").count() == count, "the path is in the playlist")
    with page.expect_download() as download:
        page.click("#view-list >> text=.xspf")
    text = Path(download.value.path()).read_text()
    view.check(text.count("<track>") == count and "file:///" in text, f"the playlist {download.value.suggested_filename} has them")
    first = page.locator("#view-list li bdi").first.inner_text()
    page.locator("#view-list [data-action=down]").first.click()
    view.check(page.locator("#view-list li .name bdi").nth(1).inner_text() == first, "a song moves down")
    view.picture("playlist")
    page.click("#view-list >> text=Clear")


def show_map(view, column):
    page = view.page
    page.click("#tab-map")
    until(view, "/songs/.test(document.querySelector('#view-map > .hint').textContent)", "the map is computed")
    page.locator("#view-map select").nth(1).select_option(column)
    page.wait_for_selector(".legend span")
    box = page.locator(".map-box canvas").bounding_box()
    blank = page.evaluate(
        "(() => { const c = document.querySelector('.map-box canvas'); const d = c.getContext('2d').getImageData(0, 0, c.width, c.height).data;"
        " let n = 0; for (let i = 3; i < d.length; i += 4) n += d[i] > 0; return n; })()"
    )
    view.check(blank > 1000, "the map is drawn")
    view.picture("map")
    page.focus(".map-box canvas")
    page.keyboard.press("n")
    page.wait_for_selector(".map-card")
    view.check(page.locator(".map-card .name").inner_text() != "", "a song of the map is chosen with a key")
    page.keyboard.press("Escape")
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    page.mouse.wheel(0, -800)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] / 2 + 60, box["y"] + box["height"] / 2 + 30, steps=4)
    page.mouse.up()
    page.keyboard.press("0")
    view.check(page.locator(".map-card").count() == 0, "dragging the map chooses nothing")
    page.click("#tab-hits")


def large_map(view):
    """100,000 points, drawn by the page's own code."""
    took = view.page.evaluate(
        """async () => {
          const { MapView } = await import('/assets/map-view.js');
          const box = document.createElement('div');
          box.className = 'map-box';
          document.body.append(box);
          const view = new MapView(box, { hover() {}, choose() {} });
          const points = Array.from({ length: 100000 }, (_, i) => [i, Math.sin(i * 12.9898) * (i % 97), Math.cos(i * 78.233) * (i % 89)]);
          view.setPoints(points);
          view.setColors((track) => (track % 3 ? '#1b6a72' : '#8f4f0c'));
          view.resize();
          const times = [];
          for (let step = 0; step < 12; step += 1) {
            view.pan(5, 3);
            await new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)));
            times.push(view.milliseconds);
          }
          const found = view.nearest(view.canvas.width / 2, view.canvas.height / 2, 200);
          box.remove();
          return { times: times.sort((a, b) => a - b), found };
        }"""
    )
    median = took["times"][len(took["times"]) // 2]
    # Not a limit: nothing that goes by a clock is a test.
    view.check(took["found"] is not None, f"100,000 points are drawn; a frame took {median:.1f} ms")


def keyboard_only(view, seed):
    page = view.page
    page.goto(view.address)
    page.wait_for_selector(".samples button")
    page.keyboard.press("/")
    page.keyboard.type(seed)
    page.wait_for_selector('#searchbox [role="option"]')
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowUp")
    view.check(page.get_attribute("#search", "aria-activedescendant") is not None, "the list follows the arrow keys")
    page.keyboard.press("Enter")
    view.searched()
    for _ in range(80):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement?.dataset?.action") == "why":
            break
    view.check(page.evaluate("document.activeElement?.dataset?.action") == "why", "Tab reaches the reasons")
    outline = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
    view.check(outline != "none", "the focus can be seen")
    page.keyboard.press("Enter")
    page.wait_for_selector(".reasons .pairs li")
    view.check(page.evaluate("document.activeElement.getAttribute('aria-expanded')") == "true", "Enter opens them")
    page.focus("#tab-hits")
    page.keyboard.press("ArrowRight")
    view.check(page.is_visible("#view-map"), "arrow keys change the view")


def narrow(browser, view, seed, other):
    """The start page and every view at the widths of phones."""
    for width in (320, 360, 390):
        phone = Page(browser, view.address, view.screenshots and view.screenshots / str(width), viewport={"width": width, "height": 740})
        page = phone.page

        def look(name, phone=phone, width=width):
            beyond, gap = phone.beyond(), phone.gap()
            phone.check(phone.fits(), f"{width} pixels, {name}: nothing is cut off{': ' if beyond else ''}{'; '.join(beyond)}")
            phone.check(gap < 40, f"{width} pixels, {name}: {gap:.0f} pixels between the controls and the views")
            phone.picture(name.replace(" ", "-"))

        page.goto(view.address)
        page.wait_for_selector(".samples button")
        look("start page")
        page.click("#tab-list")
        look("empty playlist")
        page.click("#tab-path")
        look("empty path")
        page.click("#tab-hits")
        phone.search(seed)
        look("results")
        page.locator(".hit [data-action=why]").first.click()
        page.wait_for_selector(".reasons .pairs li")
        look("reasons")
        page.click("#tab-map")
        until(phone, "/songs/.test(document.querySelector('#view-map > .hint').textContent)", "the map is computed")
        look("map")
        page.click("#tab-path")
        page.fill("#path-to", other)
        page.wait_for_selector('#view-path [role="option"]')
        page.keyboard.press("Enter")
        page.wait_for_selector("#view-path .steps li")
        look("path")
        page.click("#view-path >> text=Add all to the playlist")
        page.click("#tab-list")
        page.wait_for_selector("#view-list li")
        look("playlist")
        page.click("#adjust > summary")
        look("controls")
        view.faults += phone.faults
        view.checked += phone.checked
        page.close()


def names(view):
    """Names that are long, from right to left, and like markup."""
    page = view.page
    page.goto(view.address)
    for text, title in (("goes on", LONG), (RIGHT_TO_LEFT[:3], RIGHT_TO_LEFT), ("onerror", MARKUP)):
        page.wait_for_selector(".samples button, .hit")
        view.search(text)
        view.check(title in page.locator(".chip .label").inner_text(), f"a title as text: {title[:30]}")
        view.check(view.fits(), "it does not widen the page")
    view.check(page.locator("img").count() == 0, "markup in a title stays text")
    view.search("unplayable")
    page.locator(".chip button").first.click()
    until(view, "document.querySelector('audio')?.currentTime > 0.2 && document.querySelector('audio').src.includes('/passage')", "AIFF plays as WAV")


def drive(arguments, address, folder, model, generated, change):
    from playwright.sync_api import sync_playwright

    seed, other = ("Piece 1", "Piece 20") if generated else (arguments.seed, "o")
    faults, checked = [], 0
    with sync_playwright() as playwright:
        options = ["--no-sandbox", "--autoplay-policy=no-user-gesture-required", "--mute-audio"]
        browser = playwright.chromium.launch(executable_path=arguments.chromium, args=options)
        for name, viewport in (("light", (1280, 860)), ("dark", (1280, 860)), ("phone-light", (360, 740)), ("phone-dark", (360, 740))):
            say(f"{name}, {viewport[0]} x {viewport[1]}")
            theme = name.removeprefix("phone-")
            shots = arguments.screenshots and arguments.screenshots / name
            view = Page(browser, address, shots, color_scheme=theme, viewport={"width": viewport[0], "height": viewport[1]})
            search_and_play(view, seed)
            view.check(view.page.evaluate("document.documentElement.dataset.theme") == theme, f"the theme is the system's: {theme}")
            if viewport[0] < 900:
                view.picture("results-phone")
                view.page.click("#adjust > summary")
                view.picture("controls")
                view.check(view.fits(), "nothing is wider than the page")
            sliders(view)
            reasons(view)
            view.check(view.fits(), "nothing is wider than the page")
            seeds_and_filters(view)
            path_and_playlist(view, other)
            show_map(view, "artist")
            view.check(view.fits(), "nothing is wider than the page")
            if name == "light":
                large_map(view)
                narrow(browser, view, seed, other)
                keyboard_only(view, seed)
                view.page.click("#theme")
                view.page.click("#theme")
                view.check(view.page.evaluate("document.documentElement.dataset.theme") == "dark", "the button changes the theme")
            if generated:
                names(view)
                learned_metric(view, seed)
                missing_and_changed(view, change if name == "light" else None)
            hubs(view)
            if model:
                own_file(view, folder)
            faults += [f"{name}: {fault}" for fault in view.faults]
            checked += view.checked
            view.page.close()
        if generated:
            say("one track")
            view = one_track(browser, arguments, folder, model)
            faults += [f"one track: {fault}" for fault in view.faults]
            checked += view.checked
        browser.close()
    return faults, checked


@contextlib.contextmanager
def server(arguments, options):
    """A server, which has to end with Ctrl-C."""
    command = [arguments.bin / "mert-search", "serve", *options, "--port", "0"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        address = process.stdout.readline().strip()
        if not address.startswith("http://127.0.0.1:"):
            raise Failed(f"expected an address from mert-search serve, found {address!r}")
        yield address
    finally:
        process.send_signal(signal.SIGINT)
        status = process.wait(10)
    if status != 0:
        raise Failed(f"Ctrl-C ended the server with the status {status}")


def use(arguments, folder):
    """Starts the server, uses its page, and ends it."""
    generated = arguments.catalogue is None
    change = None
    if generated:
        catalogue, model, metric = make_catalogue(folder, arguments.bin)
        options = [catalogue, "--model", model, "--metric", metric]

        def change():
            write_wav(folder / "music/99.wav", sound(99), {"title": "Added later", "artist": "Ensemble 1"})
            run(arguments.bin / "mert-search", "add", catalogue, folder / "music/99.wav", "--model", model, "--layers", "2,6,10")
    else:
        catalogue, model = arguments.catalogue, arguments.model
        options = [catalogue, *(["--model", model] if model else [])]
    with server(arguments, options) as address:
        faults, checked = drive(arguments, address, folder, model, generated, change)
    for fault in faults:
        print(fault)
    print(json.dumps({"checked": checked, "faults": len(faults)}))
    return 1 if faults else 0


def main():
    arguments = parse()
    if not arguments.chromium:
        raise Failed("there is no chromium: install it, or give --chromium FILE")
    if INSIDE not in os.environ:
        python = arguments.python or make_venv(TARGET / "check-search-page", PINS)
        return subprocess.run([python, __file__, *sys.argv[1:]], env={**os.environ, INSIDE: "1"}).returncode
    with tempfile.TemporaryDirectory() as folder:
        return use(arguments, Path(folder))


if __name__ == "__main__":
    try:
        sys.exit(main())
    except Failed as failure:
        say(failure)
        sys.exit(2)
