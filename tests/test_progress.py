"""Progress: what the line says, and silence without a terminal."""

from ferbench.progress import Tally, progress


def test_the_line_counts_amounts_rates_the_first_and_lists_failures_by_reason():
    tally = Tally()
    for number in range(100):
        tally.add("no-face" if number in (3, 4) else "unreadable" if number == 9 else "", {"frames": 16, "faces": 15})
    assert tally.text(2.0) == "1,600 frames (800/s), 1,500 faces, failed: 2 no-face, 1 unreadable"
    assert Tally().text(0.0) == ""


def test_without_a_terminal_nothing_is_written(capsys):
    with progress("working", 3) as advance:
        advance("a", frames=1)
        advance("b", failed="no-face")
    assert capsys.readouterr() == ("", "")


def test_a_terminal_shows_counts_and_names_as_plain_text(monkeypatch, capsys):
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "160")
    with progress("aligning", 2) as advance:
        advance("[bold]a", frames=16, faces=15)
        advance("b", frames=16, failed="no-face")
    shown = capsys.readouterr().err
    assert "2/2" in shown
    assert "32 frames" in shown
    assert "failed: 1 no-face, b" in shown
