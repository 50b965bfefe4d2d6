import pytest
import torch
from torch import nn

from nexus.checkpoints.weights import compare, load_weights, read_weights, save_weights
from nexus.errors import CheckpointError


class Tied(nn.Module):
    """One layer under two names, a view into a larger storage, a buffer, an empty tensor."""

    def __init__(self, seed=0):
        super().__init__()
        torch.manual_seed(seed)
        self.first = nn.Linear(3, 4)
        self.second = self.first
        big = torch.randn(10, 5)
        self.register_buffer("view", big[2:4, ::2])
        self.register_buffer("count", torch.tensor(7 + seed, dtype=torch.int64))
        self.register_buffer("empty", torch.empty(0, 3))
        self.low = nn.Parameter(torch.randn(2, 2).bfloat16())


def test_every_tensor_comes_back_bit_for_bit(tmp_path):
    module, other = Tied(0), Tied(1)
    save_weights(tmp_path / "w.safetensors", module)
    report = load_weights(other, tmp_path / "w.safetensors")
    assert report.exact and set(report.matched) == set(module.state_dict())
    for name, tensor in module.state_dict().items():
        assert torch.equal(tensor, other.state_dict()[name]), name
        assert tensor.dtype == other.state_dict()[name].dtype


def test_a_shared_tensor_is_stored_once(tmp_path):
    from safetensors import safe_open

    save_weights(tmp_path / "w.safetensors", Tied())
    with safe_open(tmp_path / "w.safetensors", framework="pt") as file:
        names = set(file.keys())
    assert {"first.weight", "first.bias"} < names
    assert not {"second.weight", "second.bias"} & names
    assert {"second.weight", "second.bias"} < set(read_weights(tmp_path / "w.safetensors"))


def test_the_report_names_missing_unexpected_and_reshaped():
    expected = {"a": torch.zeros(2), "b": torch.zeros(3), "c": torch.zeros(4)}
    found = {"a": torch.zeros(2), "c": torch.zeros(5), "d": torch.zeros(1)}
    report = compare(expected, found)
    assert report.matched == ("a",) and report.missing == ("b",) and report.unexpected == ("d",)
    text = report.explain()
    assert "1 of the model's 3 tensors match" in text
    assert "1 missing from the file: b" in text
    assert "1 in the file but not in the model: d" in text
    assert "c: (5,) in the file, (4,) in the model" in text
    assert not report.exact


def test_long_lists_are_cut():
    report = compare({f"layer{i}": torch.zeros(1) for i in range(14)}, {})
    assert "14 missing from the file" in report.explain()
    assert "and 4 more" in report.explain() and "layer13" not in report.explain()


def test_a_file_that_does_not_fit_changes_nothing(tmp_path):
    save_weights(tmp_path / "w.safetensors", nn.Linear(3, 4))
    module = nn.Sequential(nn.Linear(3, 4))
    before = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    with pytest.raises(CheckpointError, match=r"2 missing from the file: 0\.weight, 0\.bias"):
        load_weights(module, tmp_path / "w.safetensors")
    assert all(torch.equal(before[name], t) for name, t in module.state_dict().items())


@pytest.mark.parametrize("damage", ["missing", "empty", "cut", "text"])
def test_a_damaged_file_is_an_error_that_names_it(tmp_path, damage):
    path = tmp_path / "w.safetensors"
    save_weights(path, nn.Linear(30, 40))
    if damage == "missing":
        path.unlink()
    else:
        content = {"empty": b"", "cut": path.read_bytes()[:-100], "text": b"no weights " * 20}
        path.write_bytes(content[damage])
    with pytest.raises(CheckpointError, match="w.safetensors"):
        load_weights(nn.Linear(30, 40), path)


def block(prefix, tensors=12):
    return {f"{prefix}.{i}.weight": torch.zeros(2) for i in range(tensors)}


def test_a_block_that_is_wholly_missing_or_too_many_is_one_entry():
    model = block("encoder.stack.blocks.0") | block("encoder.stack.blocks.1")
    report = compare(model, block("encoder.stack.blocks.0"))
    wanted = "12 missing from the file: encoder.stack.blocks.1.* (12 tensors)"
    assert report.explain().endswith(wanted)
    report = compare(model, model | block("encoder.stack.blocks.2"))
    wanted = "12 in the file but not in the model: encoder.stack.blocks.2.* (12 tensors)"
    assert report.explain().endswith(wanted)


def test_of_a_block_that_is_there_each_missing_tensor_is_named():
    model, found = block("stack.blocks.0"), block("stack.blocks.0")
    del found["stack.blocks.0.3.weight"], found["stack.blocks.0.5.weight"]
    text = compare(model, found).explain()
    assert text.endswith(
        "2 missing from the file: stack.blocks.0.3.weight, stack.blocks.0.5.weight"
    )


def test_a_wrong_number_of_mask_tokens_is_said_in_words():
    found, expected = ({"predictor.mask_tokens": torch.zeros(n, 4)} for n in (8, 10))
    text = compare(expected, found).explain()
    assert "predictor.mask_tokens: 8 mask tokens in the file, 10 in the model" in text


@pytest.mark.parametrize(
    ("expected", "found", "patterns", "accepted"),
    [
        ("ab", "ab", [], True),
        ("abc", "ab", [], False),
        ("abc", "ab", ["c"], True),
        ("abcd", "ab", ["c"], False),
        ("abcd", "ab", ["[cd]"], True),
        ("ab", "abc", ["*"], False),  # what the file has too many is never accepted
    ],
)
def test_missing_names_can_be_allowed_by_pattern(expected, found, patterns, accepted):
    tensors = [{name: torch.zeros(1) for name in names} for names in (expected, found)]
    assert compare(*tensors).acceptable(patterns) is accepted


def test_a_wrong_shape_is_never_accepted():
    assert not compare({"a": torch.zeros(1)}, {"a": torch.zeros(2)}).acceptable(["*"])
