"""Downloads from a loopback archive that misbehaves; places; answers of the query service."""

from __future__ import annotations

import errno
import shutil
import time
from collections import namedtuple
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

from catalog.archive.download import DiskFullError, Download, Unfinished, download
from catalog.archive.partial import tidy
from catalog.archive.places import RELEASES, SpectrumKey, catalog_places, spectrum_places
from catalog.archive.published import check_sha1, find_sha1, look_up
from catalog.archive.session import (
    Manners,
    Pace,
    PoliteSession,
    RefusedError,
    UnreachableError,
    retry_after,
)
from catalog.archive.skyserver import sky_server, spectra_near
from catalog.errors import BadInputError, CrosslabelError, ExitCode, UsageError
from tests.support.archive_server import Archive, serve

HASTE = Manners(attempts=3, backoff_s=0.01, longest_wait_s=2.0, connect_s=2.0, read_s=0.4)
CONTENT = bytes(np.random.default_rng(1).integers(0, 256, 700_001, np.uint8))


@pytest.fixture
def archive(monkeypatch: pytest.MonkeyPatch) -> Iterator[Archive]:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with serve(
        Archive(files={"dr17/a/file.bin": CONTENT, "dr17/a/other.bin": b"other"})
    ) as running:
        yield running


@pytest.fixture
def session() -> Iterator[PoliteSession]:
    with PoliteSession(HASTE) as made:
        yield made


def fetch(
    session: PoliteSession, archive: Archive, path: Path, budget_s: float | None = None
) -> Download | Unfinished | None:
    def same(part: Path) -> None:
        if part.read_bytes() != CONTENT:
            raise BadInputError("WRONG_CONTENT", "another file", "")

    return download(
        session,
        f"{archive.url}/sas/dr17/a/file.bin",
        path,
        same,
        max_bytes=1 << 20,
        budget_s=budget_s,
    )


def nothing_left(folder: Path) -> bool:
    return not [p for p in folder.iterdir() if ".part" in p.name]


@pytest.mark.parametrize(
    "faults",
    [
        [],
        ["500"],
        ["503", "500"],
        ["hang up", "500"],
        ["429:0"],
        ["cut", "cut", "cut", "cut", "cut", "cut"],
        ["slow"],
        ["stall"],
        ["cut", "500", "cut", "hang up"],
        ["no ranges"],
    ],
    ids=" ".join,
)
def test_a_file_comes_whole_whatever_the_weather(
    session: PoliteSession, archive: Archive, tmp_path: Path, faults: list[str]
) -> None:
    archive.faults["dr17/a/file.bin"] = list(faults)
    path = tmp_path / "a" / "file.bin"
    done = fetch(session, archive, path)
    assert isinstance(done, Download)
    assert (path.read_bytes() == CONTENT, done.size) == (True, len(CONTENT))
    assert nothing_left(path.parent)
    assert not archive.faults["dr17/a/file.bin"]


def test_what_was_cut_off_goes_on_from_there(
    session: PoliteSession, archive: Archive, tmp_path: Path
) -> None:
    archive.faults["dr17/a/file.bin"] = ["cut"]
    assert fetch(session, archive, tmp_path / "f")
    ranges = [entry[3] for entry in archive.asked("file.bin")]
    assert ranges[0] is None
    assert ranges[1] == f"bytes={len(CONTENT) // 3}-"


def test_a_file_that_changed_meanwhile_is_begun_again(
    session: PoliteSession, archive: Archive, tmp_path: Path
) -> None:
    path, url = tmp_path / "f", f"{archive.url}/sas/dr17/a/file.bin"
    archive.faults["dr17/a/file.bin"] = ["cut", "500", "500", "500"]
    with pytest.raises(UnreachableError):
        fetch(session, archive, path)
    assert (tmp_path / "f.part").stat().st_size == len(CONTENT) // 3
    archive.files["dr17/a/file.bin"] = new = CONTENT[::-1]
    assert download(session, url, path, lambda part: None, max_bytes=1 << 20)
    assert path.read_bytes() == new


def test_a_killed_process_leaves_what_the_next_one_goes_on_with(
    session: PoliteSession, archive: Archive, tmp_path: Path
) -> None:
    """Complete but not renamed: nothing is sent again."""
    path = tmp_path / "f"

    class KilledError(Exception):
        pass

    def die(part: Path) -> None:
        raise KilledError

    with pytest.raises(KilledError):
        download(session, f"{archive.url}/sas/dr17/a/file.bin", path, die, max_bytes=1 << 20)
    assert fetch(session, archive, path)
    assert path.read_bytes() == CONTENT
    assert archive.log[-1][4] == "416"


def test_a_download_whose_time_is_up_goes_on_later(
    session: PoliteSession, archive: Archive, tmp_path: Path
) -> None:
    archive.faults["dr17/a/file.bin"] = ["slow"]
    done = fetch(session, archive, tmp_path / "f", budget_s=0.05)
    assert isinstance(done, Unfinished)
    assert 0 < done.size < len(CONTENT) == done.total
    assert not (tmp_path / "f").exists()
    assert isinstance(fetch(session, archive, tmp_path / "f", budget_s=5), Download)
    assert archive.log[-1][3] == f"bytes={done.size}-"


@pytest.mark.parametrize(
    ("fault", "code"),
    [
        ("html", "HTML_BODY"),
        ("html as fits", "HTML_BODY"),
        ("wrong file:dr17/a/other.bin", "WRONG_CONTENT"),
    ],
)
def test_what_is_not_the_file_is_refused_and_the_old_one_stays(
    session: PoliteSession, archive: Archive, tmp_path: Path, fault: str, code: str
) -> None:
    (tmp_path / "f").write_bytes(b"old")
    archive.faults["dr17/a/file.bin"] = [fault]
    with pytest.raises(BadInputError) as caught:
        fetch(session, archive, tmp_path / "f")
    assert caught.value.reason_code == code
    assert (tmp_path / "f").read_bytes() == b"old"
    assert nothing_left(tmp_path)


def test_not_there_refused_elsewhere_and_down(
    session: PoliteSession, archive: Archive, tmp_path: Path
) -> None:
    archive.faults["dr17/a/file.bin"] = ["404", "403", "elsewhere", "500", "500", "500"]
    assert fetch(session, archive, tmp_path / "f") is None
    with pytest.raises(RefusedError, match="answers 403"):
        fetch(session, archive, tmp_path / "f")
    with pytest.raises(RefusedError, match=r"another host, login\.example\.org"):
        fetch(session, archive, tmp_path / "f")
    with pytest.raises(UnreachableError, match=r"answers 500 \(3 attempts\)") as caught:
        fetch(session, archive, tmp_path / "f")
    assert caught.value.exit_code == ExitCode.UNAVAILABLE
    assert list(tmp_path.iterdir()) == []


#: What a server may say without end, and what is said of it in the end.
ENDLESS = {
    "wrong range": "nothing new in 3 attempts",
    "long range": "nothing new in 3 attempts",
    "large total": "nothing new in 3 attempts",
    "long length": "nothing new in 3 attempts",
    "other tag cut": "nothing new in 3 attempts",
    "drip": "comes too slowly: .* bytes a second over 0 s, where 10,000 are expected|nothing new",
}


@pytest.mark.parametrize("fault", ENDLESS)
@pytest.mark.parametrize("budget_s", [None, 0.01], ids=["at once", "in slices"])
def test_downloads_that_never_end_are_given_up(
    archive: Archive, tmp_path: Path, fault: str, budget_s: float | None
) -> None:
    archive.faults["dr17/a/file.bin"] = ["cut", *[fault] * 1000]
    manners = Manners(attempts=3, backoff_s=0.0, read_s=2.0, rate_window_s=0.2)
    if fault == "drip":
        archive.faults["dr17/a/file.bin"] = [fault] * 1000
    session = PoliteSession(manners)

    def go_on() -> None:
        for _ in range(100):
            assert isinstance(fetch(session, archive, tmp_path / "f", budget_s), Unfinished)

    with session, pytest.raises(UnreachableError, match=ENDLESS[fault]) as caught:
        go_on()
    assert caught.value.exit_code == ExitCode.UNAVAILABLE
    assert not (tmp_path / "f").exists()
    assert len(archive.log) < 40
    archive.faults.clear()
    assert isinstance(fetch(session, archive, tmp_path / "f"), Download)  # the next one counts anew
    assert nothing_left(tmp_path)


def test_a_size_that_is_too_small_is_seen_by_the_check(
    session: PoliteSession, archive: Archive, tmp_path: Path
) -> None:
    archive.faults["dr17/a/file.bin"] = ["short length"]
    with pytest.raises(BadInputError, match="WRONG_CONTENT"):
        fetch(session, archive, tmp_path / "f")
    assert list(tmp_path.iterdir()) == []


def test_progress_is_more_than_was_ever_there(
    session: PoliteSession, archive: Archive, tmp_path: Path
) -> None:
    """A file that changes on its way may be begun again, also where each attempt breaks off."""
    archive.faults["dr17/a/file.bin"] = ["cut", "cut", "other tag", "cut", "cut"]
    assert isinstance(fetch(session, archive, tmp_path / "f"), Download)


def test_a_redirection_in_a_circle_is_one_line(
    session: PoliteSession, archive: Archive, tmp_path: Path
) -> None:
    archive.faults["dr17/a/file.bin"] = ["circle"] * 10
    with pytest.raises(RefusedError, match=r"cannot be asked: Exceeded 5 redirects") as caught:
        fetch(session, archive, tmp_path / "f")
    assert "\n" not in str(caught.value)
    with pytest.raises(RefusedError, match="cannot be asked"):
        look_up(session, "nonsense://x/y")
    with pytest.raises(RefusedError, match="cannot be asked"):
        look_up(session, "http://[/")


def test_an_answer_has_an_end(archive: Archive) -> None:
    """Also one that is no download, as a list of checksums."""
    url = f"{archive.url}/sas/dr17/a/file.bin"
    for manners, words in (
        (Manners(answer_s=0.1), "has not ended its answer within 0 s"),
        (Manners(answer_bytes=100), "more than 100 bytes"),
    ):
        archive.faults["dr17/a/file.bin"] = ["drip"] * (manners.answer_s < 1)
        with PoliteSession(manners) as session, pytest.raises(UnreachableError, match=words):
            session.get(url)
    with PoliteSession(HASTE) as session:
        assert session.get(url).content == CONTENT


@pytest.mark.parametrize("fault", ["drip head", "drip chunk"])
def test_bytes_of_the_head_do_not_make_time_begin_anew(
    session: PoliteSession, archive: Archive, tmp_path: Path, fault: str
) -> None:
    """Nor those of the length of a chunk: HASTE waits for 0.4 s, the server drips for 12 s."""
    url = f"{archive.url}/sas/dr17/a/file.bin"
    for ask in (lambda: session.get(url), lambda: fetch(session, archive, tmp_path / "f")):
        archive.faults["dr17/a/file.bin"] = [fault] * 100
        with pytest.raises(UnreachableError, match=r"does not answer in time|breaks off|hangs up"):
            ask()
    assert all(status != f"{fault} dripped" for *_, status in archive.log)
    assert len(archive.asked("file.bin")) <= 6 * HASTE.attempts
    archive.faults.clear()
    assert isinstance(fetch(session, archive, tmp_path / "f"), Download)
    assert nothing_left(tmp_path)


def test_the_body_of_a_redirection_is_not_waited_for(
    session: PoliteSession, archive: Archive, tmp_path: Path
) -> None:
    archive.faults["dr17/a/file.bin"] = ["drip behind redirection"]
    assert isinstance(fetch(session, archive, tmp_path / "f"), Download)
    assert all(not status.endswith(" dripped") for *_, status in archive.log)


@pytest.mark.parametrize("note", ["", "{}", "[1]", '{"url": 1}', "\ud800"])
def test_what_a_killed_process_left_is_used_or_cleared(
    session: PoliteSession, archive: Archive, tmp_path: Path, note: str
) -> None:
    path = tmp_path / "f"
    for name in ("f.part.json", "f.part.json.new"):
        (tmp_path / name).write_text(note, encoding="utf-8", errors="surrogatepass")
    tidy(path)
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "f.part").write_bytes(b"x")
    (tmp_path / "f.part.json").write_text(note, encoding="utf-8", errors="surrogatepass")
    assert fetch(session, archive, path)
    assert nothing_left(tmp_path)


def test_nobody_listens(session: PoliteSession, archive: Archive, tmp_path: Path) -> None:
    with pytest.raises(UnreachableError, match="cannot be reached"):
        download(session, "http://127.0.0.1:9/x", tmp_path / "f", lambda part: None, max_bytes=9)


@pytest.mark.parametrize("fault", ["", "no length"])
def test_what_is_implausibly_large_is_not_fetched(
    session: PoliteSession, archive: Archive, tmp_path: Path, fault: str
) -> None:
    url = f"{archive.url}/sas/dr17/a/file.bin"
    archive.faults["dr17/a/file.bin"] = [fault]
    with pytest.raises(BadInputError, match=r"\[TOO_LARGE\]"):
        download(session, url, tmp_path / "f", lambda part: None, max_bytes=300_000)
    assert list(tmp_path.iterdir()) == []


def test_no_room_is_said_before_and_during(
    session: PoliteSession, archive: Archive, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = namedtuple("usage", "total used free")
    with monkeypatch.context() as patched:
        patched.setattr(shutil, "disk_usage", lambda path: usage(1, 1, 1000))
        with pytest.raises(DiskFullError, match=f"{len(CONTENT)} bytes needed, 1000 free"):
            fetch(session, archive, tmp_path / "f")
    with monkeypatch.context() as patched:

        def full(descriptor: int) -> None:
            raise OSError(errno.ENOSPC, "No space left on device")

        patched.setattr("catalog.archive.download.os.fsync", full)
        with pytest.raises(DiskFullError, match="No space left") as caught:
            fetch(session, archive, tmp_path / "f")
    assert "goes on where it stopped" in caught.value.todo
    assert fetch(session, archive, tmp_path / "f")  # room was made
    assert nothing_left(tmp_path)


def test_a_folder_that_cannot_be_made(
    session: PoliteSession, archive: Archive, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(CrosslabelError, match="cannot be written"):
        fetch(session, archive, tmp_path / "file" / "f")


def test_retry_after_is_honoured_by_all(archive: Archive) -> None:
    with PoliteSession(HASTE) as session:
        archive.faults["dr17/a/other.bin"] = ["429:1"]
        session.get(f"{archive.url}/sas/dr17/a/other.bin")
        times = [entry[0] for entry in archive.log]
        assert times[1] - times[0] >= 0.99
        archive.faults["dr17/a/other.bin"] = ["429:3600"]
        with pytest.raises(UnreachableError, match="asks to wait 3600 s"):
            session.get(f"{archive.url}/sas/dr17/a/other.bin")
        assert len(archive.log) == 3


def test_retry_after_in_its_two_forms() -> None:
    now = datetime(2026, 1, 1, tzinfo=UTC)
    assert retry_after("17", now) == 17
    assert retry_after("Thu, 01 Jan 2026 00:02:00 GMT", now) == 120
    assert retry_after("Thu, 01 Jan 2015 00:02:00 GMT", now) == 0
    assert [retry_after(text, now) for text in (None, "", "soon")] == [0, 0, 0]


def test_requests_keep_their_distance() -> None:
    pace, begin = Pace(0.03), time.monotonic()
    for _ in range(4):
        pace.wait()
    assert time.monotonic() - begin >= 0.09


def test_the_checksum_list_of_the_folder(
    session: PoliteSession, archive: Archive, tmp_path: Path
) -> None:
    url, path = f"{archive.url}/sas/dr17/a/file.bin", tmp_path / "f"
    path.write_bytes(CONTENT)
    digest = find_sha1(session, url)
    assert digest is not None
    check_sha1(path, url, digest)
    path.write_bytes(CONTENT[:-1] + b"?")
    with pytest.raises(BadInputError, match=r"\[CHECKSUM\]"):
        check_sha1(path, url, digest)
    check_sha1(path, url, find_sha1(session, f"{archive.url}/sas/dr17/b/none.bin"))


def test_looking_a_file_up(session: PoliteSession, archive: Archive) -> None:
    found = look_up(session, f"{archive.url}/sas/dr17/a/file.bin")
    assert found is not None
    assert (found.size, bool(found.version)) == (len(CONTENT), True)
    assert look_up(session, f"{archive.url}/sas/dr17/a/nothing") is None
    assert [entry[1] for entry in archive.log] == ["HEAD", "HEAD"]


def test_every_release_has_its_places() -> None:
    for release in RELEASES:
        for kind in ("apogee", "sspp", "specobj"):
            places = catalog_places(kind, release.upper())
            assert len(set(places)) == len(places) > 0
            assert all(p.endswith(".fits") and not p.startswith("/") for p in places)
    with pytest.raises(UsageError, match="places of release dr99 are not known"):
        catalog_places("apogee", "dr99")


def test_places_of_spectra() -> None:
    segue = SpectrumKey(2337, 53740, 5, "103")
    assert spectrum_places(segue, "dr17") == (
        "dr17/sdss/spectro/redux/103/spectra/lite/2337/spec-2337-53740-0005.fits",
        "dr17/sdss/spectro/redux/103/spectra/full/2337/spec-2337-53740-0005.fits",
        "dr17/sdss/spectro/redux/103/spectra/2337/spec-2337-53740-0005.fits",
    )
    boss = SpectrumKey(10235, 58127, 1000, "v5_13_2")
    places = spectrum_places(boss, "dr17")
    assert places[0] == (
        "dr17/eboss/spectro/redux/v5_13_2/spectra/lite/10235/spec-10235-58127-1000.fits"
    )
    assert places[3].startswith("dr17/sdss/spectro/redux/v5_13_2/spectra/lite/")
    old = spectrum_places(SpectrumKey(4055, 55359, 7, "v5_7_0"), "dr17")
    assert "dr12/boss/spectro/redux/v5_7_0/spectra/lite/4055/spec-4055-55359-0007.fits" in old
    for run2d in ("../../etc", "", "26/..", "v5 7"):
        with pytest.raises(BadInputError, match=r"\[BAD_ID\]"):
            spectrum_places(SpectrumKey(1, 2, 3, run2d), "dr17")


SPECTRA = [
    (2337, 53740, 5, "103", 150.0001, 2.0),
    (2338, 53741, 6, "103", 150.0001, 2.0),
    (8954, 57453, 900, "v5_13_2", 10.0, -5.0001),
]


def ask(archive: Archive, **manners: float) -> dict[int, list[str]]:
    quick = Manners(attempts=3, backoff_s=0.01, **{"interval_s": 0.0} | manners)
    with sky_server(archive.url, quick) as service:
        ra, dec = np.array([150.0, 10.0, 200.0]), np.array([2.0, -5.0, 0.0])
        found = spectra_near(service, "dr17", [11, 12, 13], ra, dec, 2.0)
    return {i: [str(key) for key, *_ in spectra] for i, spectra in found.items()}


def test_spectra_by_position(archive: Archive) -> None:
    archive.spectra = SPECTRA
    archive.faults["query"] = ["500", "cut"]
    begin = time.monotonic()
    assert ask(archive, interval_s=0.05) == {
        11: ["2337-53740-5-103", "2338-53741-6-103"],
        12: ["8954-57453-900-v5_13_2"],
        13: [],
    }
    # all requests kept their distance, astroquery's own included
    assert time.monotonic() - begin >= 0.05 * (len(archive.log) - 1)


def test_no_spectra_at_all_in_both_ways_of_saying_so(archive: Archive) -> None:
    assert ask(archive) == {11: [], 12: [], 13: []}
    archive.spectra, archive.faults["query"] = SPECTRA, ["nothing"]
    assert ask(archive) == {11: [], 12: [], 13: []}


@pytest.mark.parametrize(
    ("fault", "code"),
    [
        ("html", "HTML_BODY"),
        ("404", "HTML_BODY"),
        ("missing column", "MISSING_COLUMN"),
        ("wrong star", "WRONG_CONTENT"),
        ("wrong object", "WRONG_CONTENT"),
        ("wrong id", "BAD_ID"),
        ("broken off", "TRUNCATED"),
    ],
)
def test_answers_that_are_not_believed(archive: Archive, fault: str, code: str) -> None:
    archive.spectra = SPECTRA
    archive.faults["query"] = [fault]
    with pytest.raises(BadInputError) as caught:
        ask(archive)
    assert caught.value.reason_code == code
    assert len(ask(archive)[11]) == 2  # nothing of the wrong answer was kept
