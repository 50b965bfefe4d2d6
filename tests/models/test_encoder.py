"""The video encoder: what it computes, and which clips it takes."""

import jaxtyping
import pytest
import torch
from oracles import attention as slow
from oracles import v_jepa_21
from oracles.tiny import TINY, clips, stir

from nexus.errors import ConfigError, VideoShapeError
from nexus.models.encoder import EncoderConfig, VideoEncoder, levels_of
from nexus.models.tubelets import check_video_values
from nexus.nn.grid import Grid, TokenLayout

KEYS = set(TINY) & set(EncoderConfig.model_fields)


def encoder(**changes) -> VideoEncoder:
    torch.manual_seed(0)
    settings = {name: TINY[name] for name in KEYS}
    return VideoEncoder(EncoderConfig.from_mapping({**settings, **changes}))


@pytest.mark.parametrize("positions", ["learned", "sincos"])
@pytest.mark.parametrize("factorized", [True, False])
def test_the_encoder_is_the_formula(factorized: bool, positions: str) -> None:
    model = encoder(factorized=factorized, positions=positions, drop_path=0.3).double().eval()
    stir(model, scale=0.1)
    video = clips(1).double()
    layout = TokenLayout(Grid(4, 4, 4), torch.tensor([[0, 3, 17, 19, 20, 35, 51, 63]]))
    tokens = []
    for token in layout.index[0].tolist():
        time, place = divmod(token, 16)
        row, col = divmod(place, 4)
        block = video[0, :, 2 * time : 2 * time + 2, 4 * row : 4 * row + 4, 4 * col : 4 * col + 4]
        value = (model.embed.proj.weight * block).sum(dim=(1, 2, 3, 4)) + model.embed.proj.bias
        tokens.append(value + model.positions(TokenLayout.full(layout.grid))[0, token])
    sequence = torch.stack(tokens).unsqueeze(0)
    if factorized:
        sequence = slow.factorized(model.stack, sequence, layout)
    else:
        sequence = slow.joint(model.stack, sequence)
    expected = slow.layer_norm(model.norm, sequence[0])
    torch.testing.assert_close(model(video, layout)[0], expected)


ROTARY = {
    "encoder_dim": 28,  # heads of 14: three parts of 4, and 2 that stay
    "factorized": False,
    "num_spatial_layers": 4,
    "num_temporal_layers": 0,
    "positions": "rope_interleaved",
}
V21 = {
    **ROTARY,
    "rope_stretch": 16,
    "image_input": True,
    "modality_embedding": True,
    "feature_levels": (0, 1, 3),
    "predicted_levels": 3,
}
KINDS = {
    "2.0": {**ROTARY, "positions": "rope_tiled"},
    "2.0, gated": {**ROTARY, "positions": "rope_tiled", "mlp": "swiglu"},
    "2.1": V21,
    "2.1, one predicted level": {**V21, "predicted_levels": 1},
    "2.1, two predicted levels": {**V21, "predicted_levels": 2},
}


SHAPES = [(4, 8, 12), (2, 12, 4), (1, 8, 12), (1, 4, 4)]
CASES = [
    (kind, shape) for kind in KINDS for shape in SHAPES if shape[0] > 1 or kind.startswith("2.1")
]


@pytest.mark.parametrize(("kind", "shape"), CASES)
@pytest.mark.parametrize("whole", [True, False])
def test_the_published_encoders_are_the_formula(
    kind: str, shape: tuple[int, int, int], whole: bool
) -> None:
    """Clips and images, square or not, one patch wide or not; whole or in part; every level."""
    frames, height, width = shape
    model = encoder(**KINDS[kind]).double()
    stir(model, scale=0.1)
    config = model.config
    video = clips(1, frames=frames, height=height, width=width).double()
    grid = model.grid_of(video)
    assert grid == Grid(max(1, frames // 2), height // 4, width // 4)
    numbers = list(range(grid.tokens)) if whole else list(range(grid.tokens))[-1::-2]
    layout = None if whole else TokenLayout(grid, torch.tensor([numbers]))
    expected = v_jepa_21.encode(model, video[0], numbers)
    exact = {"rtol": 1e-10, "atol": 1e-10}
    blocks = config.feature_levels or (3,)
    for level, wanted in zip(model.features(video, layout, blocks), expected, strict=True):
        torch.testing.assert_close(level[0], wanted, **exact)
    torch.testing.assert_close(model(video, layout)[0], expected[-1], **exact)
    wanted = v_jepa_21.side_by_side(expected, config.predicted_levels)
    torch.testing.assert_close(levels_of(model, model.config, video, layout)[0], wanted, **exact)
    assert wanted.shape[-1] == config.level_dim
    model.float()
    got = levels_of(model, model.config, video.float(), layout)[0]
    torch.testing.assert_close(got, wanted.float(), rtol=1e-5, atol=1e-5)


def test_a_block_that_is_no_level_takes_the_final_norm() -> None:
    model, video = encoder(**V21).double(), clips(1, height=8, width=8).double()
    stir(model, scale=0.1)
    tokens = model.embed(video, TokenLayout.full(model.grid_of(video))) + model.video_modality
    turn = v_jepa_21.turner(model.config, list(range(16)), (4, 2, 2))
    sequence = tokens[0]
    for block in list(model.stack.blocks)[:3]:
        sequence = slow.transform(block, sequence, turn)
    got = model.features(video, blocks=(2, -1))
    torch.testing.assert_close(got[0][0], slow.layer_norm(model.norm, sequence))
    assert torch.equal(got[1], model(video))


def test_images_and_videos_have_weights_of_their_own() -> None:
    """And nothing else tells them apart: a video never uses the image's, nor the other way."""
    model = encoder(**V21)
    for frames, mine, theirs in ((4, "video", "image"), (1, "image", "video")):
        model.zero_grad()
        levels_of(model, model.config, clips(1, frames=frames)).square().sum().backward()
        embeds = {"video": model.embed.proj, "image": model.embed_image.proj}
        assert embeds[mine].weight.grad.abs().sum() > 0
        assert embeds[theirs].weight.grad is None
        assert getattr(model, f"{mine}_modality").grad.abs().sum() > 0
        assert getattr(model, f"{theirs}_modality").grad is None


def test_fresh_modality_vectors_hardly_say_anything() -> None:
    """As published: a spread of 1e-6."""
    model = encoder(**{**V21, "encoder_dim": 1200})
    for vector in (model.video_modality, model.image_modality):
        assert vector.shape == (1, 1, 1200)
        assert vector.std().item() == pytest.approx(1e-6, rel=0.1)


def test_an_image_is_refused_by_an_encoder_of_videos() -> None:
    with pytest.raises(VideoShapeError, match="frames in multiples of tubelet_size 2"):
        encoder(**ROTARY)(clips(frames=1))
    model = encoder(**{**V21, "num_frames": 1})
    assert model.config.grid == Grid(1, 4, 4)
    with pytest.raises(VideoShapeError, match="frames in multiples of tubelet_size 2"):
        model(clips(frames=3))


@pytest.mark.parametrize("kind", KINDS)
def test_rotary_encoders_take_other_lengths_and_resolutions(kind: str) -> None:
    model = encoder(**KINDS[kind])
    for frames, height, width in ((2, 16, 16), (12, 8, 20), (4, 4, 4)):
        features = model(clips(frames=frames, height=height, width=width))
        assert features.shape == (2, frames // 2 * (height // 4) * (width // 4), 28)
        assert features.isfinite().all()


def test_the_default_is_the_whole_clip() -> None:
    model, video = encoder(), clips()
    assert model.grid_of(video) == Grid(4, 4, 4)
    every = model(video)
    assert every.shape == (2, 64, model.embed_dim)
    assert torch.equal(every, model(video, TokenLayout.full(Grid(4, 4, 4))))
    assert model.grid_for(8, (16, 16)) == model.grid_of(clips())


@pytest.mark.parametrize("factorized", [True, False])
@pytest.mark.parametrize("shape", [(2, 16, 16), (12, 16, 16), (8, 24, 16), (8, 8, 20), (4, 4, 4)])
def test_other_lengths_and_resolutions(factorized: bool, shape: tuple[int, int, int]) -> None:
    frames, height, width = shape
    features = encoder(factorized=factorized)(clips(frames=frames, height=height, width=width))
    assert features.shape == (2, frames // 2 * (height // 4) * (width // 4), 24)
    assert features.isfinite().all()


def test_a_model_made_for_frames_that_are_not_square() -> None:
    model = encoder(img_size=[8, 24])
    assert model.config.grid == Grid(4, 2, 6)
    assert model(clips(height=8, width=24)).shape == (2, 48, 24)
    assert model.positions.spatial.shape == (1, 12, 24)


def test_a_clip_does_not_depend_on_the_rest_of_its_batch() -> None:
    model, video = encoder().eval(), clips(3)
    for number in range(3):
        torch.testing.assert_close(model(video[number : number + 1])[0], model(video)[number])


@pytest.fixture
def unchecked():
    """Shape annotations off, as users run: the model's own messages must come through."""
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)


NAN = clips(3)
NAN[1, 0, 2, 3, 4] = torch.nan
INF = clips(1)
INF[0, 0, 0, 0, 0] = torch.inf
BAD_VIDEOS = {
    "no batch": (clips()[0], ["5 dimensions", "(3, 8, 16, 16)"]),
    "six dimensions": (clips().unsqueeze(0), ["5 dimensions", "(1, 2, 3, 8, 16, 16)"]),
    "bytes": (clips().to(torch.uint8), ["floating-point", "uint8", "video.float() / 255"]),
    "integers": (clips().long(), ["floating-point", "int64"]),
    "booleans": (clips() > 0, ["floating-point", "bool"]),
    "complex": (clips().to(torch.complex64), ["floating-point", "complex64"]),
    "one channel": (clips(chans=1), ["expected 3 channels", "(2, 1, 8, 16, 16)"]),
    "time first": (clips().transpose(1, 2), ["expected 3 channels", "(batch, channels, frames"]),
    "channels last": (clips().movedim(1, -1), ["expected 3 channels", "(batch, channels, frames"]),
    "odd length": (clips(frames=7), ["multiples of tubelet_size 2", "(2, 3, 7, 16, 16)"]),
    "no frames": (clips(frames=0), ["multiples of tubelet_size 2", "(2, 3, 0, 16, 16)"]),
    "odd height": (clips(height=18), ["multiples of patch_size 4", "(2, 3, 8, 18, 16)"]),
    "odd width": (clips(width=18), ["multiples of patch_size 4", "resize or crop"]),
    "no width": (clips(width=0), ["multiples of patch_size 4", "(2, 3, 8, 16, 0)"]),
    "no clips": (clips(0), ["at least one clip", "(0, 3, 8, 16, 16)"]),
}


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize("name", BAD_VIDEOS)
def test_a_bad_video_is_refused_with_got_and_expected(name: str) -> None:
    video, says = BAD_VIDEOS[name]
    with pytest.raises(VideoShapeError) as caught:
        encoder()(video)
    for words in says:
        assert words in str(caught.value)


@pytest.mark.parametrize(("video", "says"), [(NAN, "1 of 3 clips"), (INF, "1 of 1 clips")])
def test_values_that_are_not_finite_are_refused(video: torch.Tensor, says: str) -> None:
    with pytest.raises(VideoShapeError, match=f"NaN or infinite values in {says}"):
        check_video_values(video)
    check_video_values(clips())
    check_video_values(torch.full_like(clips(), 3e38))  # finite, though their sum is not


def test_the_message_names_the_bad_clips() -> None:
    with pytest.raises(VideoShapeError, match=r"positions \[1\]"):
        check_video_values(NAN)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"img_size": 18}, "img_size 18 is not a multiple of patch_size 4"),
        ({"img_size": [16, 18]}, "is not a multiple of patch_size 4"),
        ({"num_frames": 7}, "num_frames 7 is not a multiple of tubelet_size 2"),
        ({"num_heads": 5}, "encoder_dim 24 does not divide into num_heads 5"),
        ({"num_spatial_layers": 0, "num_temporal_layers": 0}, "at least 1, got 0"),
        ({"encoder_dim": 0}, "encoder_dim: got 0"),
        ({"patch_size": -4}, "patch_size: got -4"),
        ({"drop_path": 1.0}, "drop_path: got 1.0"),
        ({"mlp_ratio": float("inf")}, "mlp_ratio: got inf"),
        ({"factorized": "perhaps"}, "factorized: got 'perhaps'"),
        ({"encoder_dim": "wide"}, "encoder_dim: got 'wide'"),
        ({**ROTARY, "factorized": True}, "need joint attention: set factorized to false"),
        ({**ROTARY, "encoder_dim": 8}, "even head width of at least 6, got 4"),
        ({**ROTARY, "encoder_dim": 18}, "even head width of at least 6, got 9"),
        ({"rope_stretch": 16}, "rope_stretch needs rotary positions, got 'learned'"),
        ({**V21, "feature_levels": (0, 1)}, "must rise and end with the last block, 3, got [0, 1]"),
        ({**V21, "feature_levels": (1, 0, 3)}, "must rise and end with the last block"),
        ({**V21, "feature_levels": (1, 1, 3)}, "must rise and end with the last block"),
        ({**V21, "predicted_levels": 4}, "predicted_levels is 4, but feature_levels names 3"),
        ({"predicted_levels": 2}, "predicted_levels is 2, but feature_levels names 0 blocks"),
        ({"mlp": "relu"}, "mlp: got 'relu'"),
    ],
)
def test_impossible_settings_are_refused(changes: dict, says: str) -> None:
    with pytest.raises(ConfigError) as caught:
        encoder(**changes)
    assert says in str(caught.value)


def test_stochastic_depth_grows_with_depth() -> None:
    stack = encoder(drop_path=0.4).stack
    rates = [block.drop_path.rate for block in (*stack.spatial, *stack.temporal)]
    assert rates == pytest.approx([0.0, 0.2, 0.4])


def test_a_grid_that_differs_from_the_trained_one_is_told_in_one_sentence() -> None:
    config = EncoderConfig(img_size=(32, 48), num_frames=8)
    assert config.grid == Grid(4, 2, 3)
    assert config.off_distribution(8, (32, 48)) is None
    longer = config.off_distribution(16, (32, 48))
    assert longer and "clips of 16 frames, not 8 as" in longer and "pixels" not in longer
    both = config.off_distribution(2, (48, 48))
    assert both and "2 frames, not 8 and pictures of 48 x 48 pixels, not 32 x 48 as" in both


def test_rotary_positions_are_left_by_longer_and_larger_clips_alone() -> None:
    rotary = {"positions": "rope_tiled", "factorized": False, "encoder_dim": 48, "num_heads": 2}
    config = EncoderConfig(img_size=(32, 48), num_frames=8, **rotary)
    for frames, sides in ((8, (32, 48)), (4, (32, 48)), (2, (16, 16)), (8, (32, 32))):
        assert config.off_distribution(frames, sides) is None
    told = config.off_distribution(10, (16, 48))
    assert told and "clips of 10 frames, not 8 as" in told and "pixels" not in told
    for sides in ((48, 48), (16, 64)):
        told = config.off_distribution(4, sides)
        assert told and "frames" not in told and "not 32 x 48 as" in told
    stretched = config.with_changes(positions="rope_interleaved", rope_stretch=16)
    assert stretched.off_distribution(8, (96, 16)) is None
    assert stretched.off_distribution(10, (96, 16))


def test_an_image_is_as_trained_only_where_images_are_taken() -> None:
    config = EncoderConfig(img_size=32, num_frames=8)
    assert config.off_distribution(1, (32, 32))
    assert config.with_changes(image_input=True).off_distribution(1, (32, 32)) is None
    assert config.with_changes(image_input=True).off_distribution(1, (32, 64))


@pytest.mark.parametrize("factorized", [True, False])
@pytest.mark.parametrize("blocks", [(99,), (-2,), (2, 1), (1, 1), (-1, 0)])
def test_blocks_that_there_are_not_are_refused(factorized, blocks):
    shape = {"factorized": factorized, "num_spatial_layers": 2, "num_temporal_layers": 2}
    model = encoder(**shape)
    with pytest.raises(ValueError, match=r"blocks: got .*; expected rising numbers from 0 to 3"):
        model.features(clips(), blocks=blocks)
