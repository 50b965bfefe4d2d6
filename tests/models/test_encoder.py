"""The video encoder: what it computes, and which clips it takes."""

import jaxtyping
import pytest
import torch
from oracles import attention as slow
from oracles.tiny import TINY, clips, stir

from nexus.errors import ConfigError, VideoShapeError
from nexus.models.encoder import EncoderConfig, VideoEncoder, check_video_values
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


def test_the_default_is_the_whole_clip() -> None:
    model, video = encoder(), clips()
    assert model.grid_of(video) == Grid(4, 4, 4)
    every = model(video)
    assert every.shape == (2, 64, model.embed_dim)
    assert torch.equal(every, model(video, TokenLayout.full(Grid(4, 4, 4))))
    assert (model.patch_size, model.tubelet_size) == (4, 2)


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
