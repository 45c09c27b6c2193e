"""Runs are typed and checkpoints are safe."""

import os
import pickle
import tomllib
from pathlib import Path

import numpy as np
import pytest
import torch

from oceanop.build import build_step
from oceanop.checkpoint import Checkpoint, describe_checkpoint, load_checkpoint, save_checkpoint
from oceanop.config import Run, load_run, parse_run, presets, run_to_toml
from oceanop.layout import Channel, Layout


def make_checkpoint() -> Checkpoint:
    run = parse_run(
        {"model": {"name": "FNOtD", "history": 2, "horizon": 2, "modes": [2, 2, 2], "width": 4, "layers": 1}}
    )
    layout = Layout((Channel("uo"), Channel("vo")), (Channel("u10"), Channel("v10")))
    torch.manual_seed(0)
    step = build_step(run, layout, static=torch.ones(1, 4, 5), wet=torch.ones(2, 4, 5, dtype=torch.bool))
    return Checkpoint(
        run, layout, "abc", (4, 5), np.timedelta64(3600, "s"), 7, step.state_dict(), {"store": "a.zarr"}
    )


@pytest.mark.parametrize("name", presets())
def test_every_preset_loads_and_returns_through_toml(name: str, tmp_path: Path) -> None:
    run = load_run(name)
    path = tmp_path / "run.toml"
    path.write_text(run_to_toml(run))
    assert load_run(path) == run


def test_set_changes_one_value_and_keeps_types() -> None:
    run = load_run("norkyst-fnotd", ["training.steps=7", "model.modes=[2,4,4]", 'data.fit=["train"]'])
    assert (run.training.steps, run.model.modes, run.data.fit) == (7, (2, 4, 4), ["train"])


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ("training.stepz=3", r"unknown key 'training.stepz' \(value 3\); \[training\] knows steps, seed"),
        ("trainng.steps=3", r"unknown key 'trainng' .*tables are data, model, training, compression"),
        ("model.gates=true", r"unknown key 'model.gates' .*\[model\] knows"),
        ("training.steps=0", r"'training.steps' is 0: input should be greater than or equal to 1"),
        ("training.steps=many", r"'training.steps' is 'many'"),
        ("model.name=UNet", r"'model.name' is 'UNet'; choose FNO or FNOtD"),
        ("compression.method=zip", r"'compression.method' is 'zip': input should be 'off', 'auto', 'fp16'"),
        (
            "compression.bits=4",
            r": 'compression.bits' turns nothing with compression.method 'off'; leave out",
        ),
        ("training.accumulation=0", r"'training.accumulation' is 0: input should be greater than or equal"),
        (
            "training.precision=half",
            r"'training.precision' is 'half': input should be 'float32' or 'bfloat16'",
        ),
        (
            "training.optimizer=adam",
            r"'training.optimizer' is 'adam': input should be 'adamw', 'sgdem', 'qgenx'",
        ),
        ("training.device=tpu", r"'training.device' is 'tpu': input should be 'auto', 'cpu' or 'cuda'"),
        ("steps=3", r"expected table.key=value"),
        ("model.padding=[-1,0,0]", r"'model.padding.0' is -1: input should be greater than or equal to 0"),
        (
            "model.patch=4",
            r"'model.patch' is 4, 'model.history' 6 and 'model.horizon' 6; past and future must be",
        ),
        ("model.modes=[0,4,4]", r"'model.modes.0' is 0: input should be greater than or equal to 1"),
        ('data.state=["uo","uo"]', r"'data.state' is \['uo', 'uo'\]: each name once"),
        (
            "training.validate_every=5",
            r"'training.validate_every' turns nothing while 'validation' is in data.fit",
        ),
    ],
)
def test_a_wrong_run_key_or_value_is_named(change: str, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        load_run("norkyst-fnotd", [change])


COMPRESSION = {
    "bits": 4,
    "down_bits": 8,
    "error_budget": 0.1,
    "bucket_size": 256,
    "norm": "l2",
    "error_feedback": True,
    "warmup_steps": 7,
}
BUCKETS = {"bucket_size", "norm", "error_feedback", "warmup_steps"}


@pytest.mark.parametrize(
    ("methods", "turned"),
    [
        (("off", "fp16", "bf16"), set()),
        (("auto",), BUCKETS),
        (("qsgd", "nuqsgd", "alq", "amq"), {*BUCKETS, "bits", "down_bits"}),
        (("ternary",), {*BUCKETS, "down_bits"}),
        (("layerwise",), {*BUCKETS, "down_bits", "error_budget"}),
    ],
)
def test_options_of_compression_are_refused_where_they_turn_nothing(
    methods: tuple[str, ...], turned: set[str], tmp_path: Path
) -> None:
    for method in methods:
        for name, value in COMPRESSION.items():
            table = {"model": {"name": "FNO"}, "compression": {"method": method, name: value}}
            if name in turned:
                run = parse_run(table)
                assert getattr(run.compression, name) == value
                # what is written down is read again, by people and by checkpoints
                (tmp_path / "run.toml").write_text(run_to_toml(run))
                assert (
                    load_run(tmp_path / "run.toml") == Run.model_validate_json(run.model_dump_json()) == run
                )
            else:
                words = rf"^run: 'compression\.{name}' turns nothing with compression\.method '{method}'; leave out"
                with pytest.raises(ValueError, match=words):
                    parse_run(table)


OPTIMIZER = {
    "warmup_steps": 7,
    "weight_decay": 0.1,
    "gradient_clip": 2.0,
    "momentum": 0.8,
    "momentum_steps": 9,
    "variant": "dual-averaging",
    "rates": "alternative",
}
SCHEDULED = {"warmup_steps", "weight_decay", "gradient_clip"}


@pytest.mark.parametrize(
    ("optimizer", "turned"),
    [
        ("adamw", SCHEDULED),
        ("sgdem", {*SCHEDULED, "momentum", "momentum_steps"}),
        ("qgenx", {"variant"}),
        ("qoda", {"rates"}),
    ],
)
def test_options_of_optimizers_are_refused_where_they_turn_nothing(
    optimizer: str, turned: set[str], tmp_path: Path
) -> None:
    for name, value in OPTIMIZER.items():
        table = {"model": {"name": "FNO"}, "training": {"optimizer": optimizer, name: value}}
        if name in turned:
            run = parse_run(table)
            assert getattr(run.training, name) == value
            text = run_to_toml(run)
            training = tomllib.loads(text)["training"]
            assert OPTIMIZER.keys() & training.keys() <= turned
            (tmp_path / "run.toml").write_text(text)
            assert load_run(tmp_path / "run.toml") == Run.model_validate_json(run.model_dump_json()) == run
        else:
            words = (
                rf"^run: 'training\.{name}' turns nothing with training\.optimizer '{optimizer}'; leave out"
            )
            with pytest.raises(ValueError, match=words):
                parse_run(table)


def test_an_optimizer_has_a_learning_rate_that_suits_it_unless_told() -> None:
    suited = {"adamw": 3e-3, "sgdem": 0.1, "qgenx": 0.3, "qoda": 0.3}
    for optimizer, rate in suited.items():
        run = load_run("norkyst-fno", [f"training.optimizer={optimizer}"])
        assert run.training.learning_rate == rate
        told = load_run("norkyst-fno", [f"training.optimizer={optimizer}", "training.learning_rate=0.7"])
        assert told.training.learning_rate == 0.7
    assert load_run("norkyst-fnotd").training.optimizer == "adamw"


def test_a_run_that_names_no_optimizer_is_one_with_adamw() -> None:
    named = load_run("norkyst-fnotd", ["training.optimizer=adamw"])
    assert load_run("norkyst-fnotd") == named
    with pytest.raises(
        ValueError,
        match=r"'training\.momentum', 'training\.rates' turn nothing with training\.optimizer 'adamw'",
    ):
        load_run("norkyst-fnotd", ["training.rates=alternative", "training.momentum=0.5"])


def test_all_options_that_turn_nothing_are_named_at_once() -> None:
    with pytest.raises(ValueError, match=r"'compression\.bits', 'compression\.norm' turn nothing with"):
        load_run("norkyst-fno", ["compression.method=fp16", "compression.norm=l2", "compression.bits=4"])


def test_the_keys_that_are_told_are_those_of_the_model_chosen() -> None:
    with pytest.raises(ValueError, match=r"unknown key 'model.kernel'") as told:
        load_run("norkyst-fno", ["model.kernel=3"])
    assert "padding" not in str(told.value)


def test_a_binary_file_is_no_run(tmp_path: Path) -> None:
    (tmp_path / "run.toml").write_bytes(b"\x89HDF")
    with pytest.raises(ValueError, match=r"run\.toml: not a TOML file: it is not text"):
        load_run(tmp_path / "run.toml")


def test_a_run_that_is_neither_file_nor_preset_lists_the_presets() -> None:
    with pytest.raises(ValueError, match=r"nowhere: no such run file or preset; presets are .*norkyst-fnotd"):
        load_run("nowhere")


def test_a_file_that_is_not_toml_says_where(tmp_path: Path) -> None:
    path = tmp_path / "bad.toml"
    path.write_text("[model\n")
    with pytest.raises(ValueError, match=r"bad\.toml: not a TOML file: .*line 1"):
        load_run(path)


def test_a_run_without_a_model_says_so() -> None:
    with pytest.raises(ValueError, match=r"\[model\] has no 'name'; choose FNO or FNOtD"):
        parse_run({"training": {"steps": 3}})


def test_checkpoint_returns_bit_for_bit(tmp_path: Path) -> None:
    checkpoint = make_checkpoint()
    save_checkpoint(tmp_path / "best", checkpoint)
    again = load_checkpoint(tmp_path / "best")
    assert (again.run, again.layout, again.time_step, again.steps) == (
        checkpoint.run,
        checkpoint.layout,
        checkpoint.time_step,
        7,
    )
    inputs = torch.randn(1, 2, 2, 4, 5), torch.randn(1, 2, 4, 4, 5)
    assert torch.equal(again.step(*inputs), checkpoint.step(*inputs))
    assert len(again.sha256) == 64
    assert describe_checkpoint(tmp_path / "best")["model"] == "FNOtD"


def test_an_interrupted_write_leaves_the_old_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "last"
    save_checkpoint(path, make_checkpoint())
    before = path.read_bytes()

    def fail(*args: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match="No space"):
        save_checkpoint(path, make_checkpoint())
    assert path.read_bytes() == before


class _Bomb:
    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple:
        return Path.touch, (self.target,)


def test_loading_a_checkpoint_executes_nothing(tmp_path: Path) -> None:
    target, path = tmp_path / "executed", tmp_path / "best"
    torch.save({"oceanop_checkpoint": 1, "weights": _Bomb(target)}, path)
    with pytest.raises(ValueError, match="not an oceanop checkpoint"):
        load_checkpoint(path)
    assert not target.exists()
    path.write_bytes(pickle.dumps(_Bomb(target)))
    with pytest.raises(ValueError, match="not an oceanop checkpoint"):
        load_checkpoint(path)
    assert not target.exists()


@pytest.mark.parametrize("content", [b"", b"CDF\x01", b"PK\x03\x04 broken"])
def test_a_file_that_is_no_checkpoint_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "best"
    path.write_bytes(content)
    with pytest.raises(
        ValueError, match=r"not an oceanop checkpoint \(\d+ bytes\); expected a file that 'oceanop train'"
    ):
        load_checkpoint(path)


@pytest.mark.parametrize(
    "content",
    [torch.ones(3), {"oceanop_checkpoint": 1}, {"oceanop_checkpoint": "x"}, {"weights": 1}],
    ids=["tensor", "keys missing", "format no number", "another dictionary"],
)
def test_a_foreign_torch_file_is_refused(tmp_path: Path, content: object) -> None:
    torch.save(content, tmp_path / "best")
    with pytest.raises(ValueError, match="not an oceanop checkpoint"):
        load_checkpoint(tmp_path / "best")


def test_a_newer_format_says_what_to_do(tmp_path: Path) -> None:
    torch.save({"oceanop_checkpoint": 99}, tmp_path / "best")
    with pytest.raises(
        ValueError, match=r"checkpoint format 99; this version reads up to 1\. Update oceanop"
    ):
        load_checkpoint(tmp_path / "best")


def test_weights_that_do_not_fit_the_run_are_named(tmp_path: Path) -> None:
    checkpoint = make_checkpoint()
    del checkpoint.weights["mean"]
    save_checkpoint(tmp_path / "best", checkpoint)
    with pytest.raises(ValueError, match=r"weights do not fit the operator .*mean"):
        _ = load_checkpoint(tmp_path / "best").step


def test_a_truncated_checkpoint_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "best"
    save_checkpoint(path, make_checkpoint())
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(ValueError, match="not an oceanop checkpoint"):
        load_checkpoint(path)


def test_a_missing_checkpoint_and_a_folder_are_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no such file; expected a checkpoint"):
        load_checkpoint(tmp_path / "none")
    with pytest.raises(ValueError, match="a folder; expected a checkpoint"):
        load_checkpoint(tmp_path)
