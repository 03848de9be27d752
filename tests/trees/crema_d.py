"""CREMA-D: 7,442 videos of 91 actors, and the table of votes.

An actor has 82 recordings; five have fewer, so that classes and blocks of actors have their published sizes. Which ones
those five lack is made up.
"""

from __future__ import annotations

from pathlib import Path

from trees import touch_all, write

SENTENCES = ("IEO", "TIE", "IOM", "IWW", "TAI", "MTI", "IWL", "ITH", "DFA", "ITS", "TSI", "WSI")
EMOTIONS = ("ANG", "DIS", "FEA", "HAP", "NEU", "SAD")
LACKING = {
    1002: [("WSI", "NEU")], 1076: [("WSI", "NEU")],
    **{actor: [("WSI", emotion) for emotion in EMOTIONS] for actor in (1008, 1009, 1019)},
}  # fmt: skip


def names() -> list[str]:
    """Recordings without suffix: at three levels for the first sentence, but for neutral, once for the others."""
    found = []
    for actor in range(1001, 1092):
        for sentence in SENTENCES:
            for emotion in EMOTIONS:
                if (sentence, emotion) not in LACKING.get(actor, ()):
                    levels = ("LO", "MD", "HI") if sentence == "IEO" and emotion != "NEU" else ("XX",)
                    found += [f"{actor}_{sentence}_{emotion}_{level}" for level in levels]
    return found


def votes() -> str:
    """tabulatedVotes.csv with three presentations of every recording; all ten raters of the face see what is there."""
    lines = ['"","A","D","F","H","N","S","fileName","numResponses","agreement","emoVote"']
    letters = dict(zip(EMOTIONS, "ADFHNS", strict=True))
    for presented, agreeing in ((1, 6), (2, 10), (3, 8)):
        for number, name in enumerate(names(), start=1):
            letter = letters[name.split("_")[2]]
            counts = [agreeing if each == letter else 0 for each in "ADFHNS"]
            lines.append(
                f'"{presented}{number:05d}",{",".join(map(str, counts))},"{name}",10,{agreeing / 10},"{letter}"'
            )
    return "\n".join(lines) + "\n"


def fabricate(root: Path) -> None:
    """The whole copy below `root/CREMA-D`."""
    touch_all(root / "CREMA-D/VideoFlash", [f"{name}.flv" for name in names()])
    write(root / "CREMA-D/processedResults/tabulatedVotes.csv", votes())
