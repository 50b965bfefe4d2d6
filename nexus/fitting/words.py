"""A plan in words: three lines on what was chosen and why, and what speaks against the run."""

from nexus.data.clip_spec import ClipSpec
from nexus.fitting.choice import Candidate, clips_of, significant
from nexus.fitting.facts import MOST, VideoFacts
from nexus.training.recipe import Recipe

FEW_CLIPS = 256
"""With fewer different clips a run from nothing learns little (and mostly these by heart)."""
FEW_STEPS = 300
"""In fewer steps hardly anything is learned."""
MOSTLY_PADDED = 0.5
"""Share of the videos that hold no whole clip from which that is worth a warning."""


def clips(facts: VideoFacts, clip: ClipSpec, held: float) -> str:
    """What a clip is, and what was seen of the videos.

    Args:
        held: share of the videos that hold a whole clip.
    """
    shown = f"{clip.num_frames} frames {clip.pace}, {clip.picture}"
    told = [
        f"clips of {_seconds(facts.lasts(clip))}: {shown}",
        f"your {len(facts):,} videos last {_seconds(facts.median_seconds)} in the median"
        if len(facts) > 1
        else f"your video lasts {_seconds(facts.median_seconds)}",
    ]
    if facts.movement.videos:
        after = facts.movement.visible_after
        visibly = "nothing moves visibly"
        if after is not None:
            visibly = f"things move visibly within {_seconds(after)}"
        told[-1] += f", and {visibly}"
    shorter = round((1 - held) * len(facts))
    if shorter and clip.pad == "repeat_last":
        told.append(f"{shorter:,} shorter than a clip end in a frozen picture")
    return "; ".join(told)


def size(recipe: Recipe, chosen: Candidate, tried: int) -> str:
    """How large model and batch are, and what a step costs."""
    own = recipe.model.to_mapping()
    blocks = own["num_spatial_layers"] + own["num_temporal_layers"]
    best = f", best of {tried} sizes tried" if tried > 1 else ""
    return (
        f"a model of {blocks} blocks of width {own['encoder_dim']}, batches of "
        f"{clips_of(recipe):,}: a step takes {_seconds(chosen.loading.step)} here{best}"
    )


def length(
    facts: VideoFacts, recipe: Recipe, chosen: Candidate, different: int, minutes: float | None
) -> str:
    """How long the run is, and how often it sees what.

    Args:
        different: clips that the videos hold side by side.
        minutes: what it has; None: the steps were given.
    """
    steps, count = recipe.training.steps, len(facts)
    shown, one = steps * clips_of(recipe), "s" * (steps == 1)
    if minutes is None:
        took = significant((chosen.loading.once + steps * chosen.loading.step) / 60)
        whole = f"{_steps(steps)}, as asked, take{one} about {spoken_minutes(took)}"
    else:
        whole = f"{_steps(steps)} fit{one} {spoken_minutes(minutes)}"
    if different > 2 * count:
        return (
            f"{whole}: {shown:,} clips out of {_videos(count)} that "
            f"hold{'s' * (count == 1)} {different:,} different ones"
        )
    each = f"each of your {count:,} videos" if count > 1 else "your video"
    return f"{whole}: {each} is seen {_times(shown / count)}"


def objections(
    facts: VideoFacts, *, different: int, held: float, steps: int, minutes: float | None
) -> str:
    """Why a run that can be made will hardly learn anything, in one sentence; "" if it may.

    Args:
        different: clips that the videos hold side by side.
        held: share of the videos that hold a whole clip.
        steps: of the run.
        minutes: what it has; None: the steps were given.
    """
    reasons = []
    if different < FEW_CLIPS:
        clips_there = f"{different:,} different clip{'s' * (different != 1)}"
        reasons.append(
            f"{_videos(len(facts))} hold{'s' * (len(facts) == 1)} {clips_there}, and from fewer "
            f"than {FEW_CLIPS} little is learned but these by heart (give some hundred short "
            "videos or some long ones, or continue published weights with --recipe adapt --init "
            "WEIGHTS)"
        )
    if facts.movement.videos and facts.movement.still_share >= MOST:
        looked = facts.movement.videos
        where = "the video" if looked == 1 else f"the {looked:,} videos"
        reasons.append(
            f"nothing moves in {where} looked at, so there is nothing to predict (give videos in "
            "which something changes within seconds)"
        )
    if held < MOSTLY_PADDED:
        reasons.append(
            f"{1 - held:.0%} of the videos are shorter than a clip and end in a frozen picture "
            "(give longer ones, or a smaller model.num_frames)"
        )
    if steps < FEW_STEPS and minutes is not None:
        more = max(5, round(minutes * FEW_STEPS / max(1, steps)))
        reasons.append(
            f"in {_steps(steps)}, which is what fits {spoken_minutes(minutes)}, nothing can be "
            f"learned (give --minutes {more} or more, or use a GPU)"
        )
    return f"this run will hardly learn anything: {'; '.join(reasons)}" if reasons else ""


def spoken_minutes(minutes: float) -> str:
    """For people: `20 minutes`, `30 seconds`."""
    if minutes < 2:
        return f"{60 * minutes:.3g} second{'s' * (60 * minutes != 1)}"
    return f"{minutes:.4g} minutes"


def _videos(count: int) -> str:
    return f"{count:,} video{'s' * (count != 1)}"


def _steps(count: int) -> str:
    return f"{count:,} step{'s' * (count != 1)}"


def _times(count: float) -> str:
    if count < 1.5:
        return "about once" if count >= 0.7 else "less than once"
    return f"{count:,.0f} times"


def _seconds(value: float) -> str:
    if value >= 3600:
        return f"{value / 3600:.3g} h"
    if value >= 120:
        return f"{value / 60:.3g} min"
    return f"{value:.1f} s" if value >= 1 else f"{value:.2g} s"
