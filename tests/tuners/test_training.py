"""The training loop: schedule, coverage of rows, resume, and its refusals."""

import json

import numpy as np
import pytest
import torch
from torch import nn

from labelsieve.core.exceptions import InputError, LabelSieveError
from labelsieve.tuners.checkpoint import Checkpoint
from labelsieve.tuners.plan import TrainingPlan
from labelsieve.tuners.training import AbstractTrainable, train


class Regression(AbstractTrainable):
    """Least squares with a random draw in every step, to test the generators."""

    def __init__(self, n=23, stop_at=None):
        super().__init__()
        self.w = nn.Parameter(torch.zeros(3))
        data = torch.Generator().manual_seed(0)
        self.x = torch.randn(n, 3, generator=data)
        self.y = self.x @ torch.tensor([1.0, -2.0, 0.5])
        self.seen = []
        self.stop_at = stop_at

    def step(self, rows, epoch, generator):
        if epoch == self.stop_at:
            raise KeyboardInterrupt
        self.seen.append((epoch, rows.tolist()))
        jitter = 1 + 0.01 * torch.randn(1, generator=generator)
        return ((self.x[rows] @ self.w - self.y[rows]) ** 2).mean() * jitter.squeeze()


PLAN = TrainingPlan(epochs=6, batch_size=5, lr=0.05)


def test_schedule_is_the_published_one():
    plan = TrainingPlan(epochs=50, lr=0.002)
    trace = [plan.learning_rate(e) for e in range(50)]
    np.testing.assert_allclose(trace[:4], [1e-5, 0.002, 0.00199803, 0.00199211], rtol=1e-5)
    assert trace[-1] == pytest.approx(7.885e-6, rel=1e-3)
    deft = TrainingPlan(epochs=10, lr=0.03, warmup_epochs=0)
    np.testing.assert_allclose(
        [deft.learning_rate(e) for e in range(10)],
        [0.03, 0.029266, 0.027135, 0.023817, 0.019635]
        + [0.015, 0.010365, 0.006183, 0.002865, 0.000734],
        atol=1e-6,
    )


def test_every_row_is_seen_once_an_epoch_and_the_order_changes():
    module = Regression()
    train(module, 23, PLAN)
    orders = []
    for epoch in range(6):
        rows = [row for e, batch in module.seen for row in batch if e == epoch]
        assert sorted(rows) == list(range(23))
        orders.append(rows)
    assert orders[0] != orders[1]


def test_equals_a_plain_sgd_loop():
    module, plain = Regression(), Regression()
    history = train(module, 23, PLAN, random_state=3)
    w, velocity = torch.zeros(3), torch.zeros(3)
    step = iter(module.seen)
    for epoch in range(6):
        order = np.random.default_rng([3, epoch])
        generator = torch.Generator().manual_seed(int(order.integers(2**63 - 1)))
        for _ in range(5):
            _, rows = next(step)
            plain.w.data = w.clone()
            plain.w.grad = None
            plain.step(torch.tensor(rows), epoch, generator).backward()
            velocity = 0.9 * velocity + plain.w.grad + 5e-4 * w
            w = w - PLAN.learning_rate(epoch) * velocity
    torch.testing.assert_close(module.w.detach(), w)
    assert [record["epoch"] for record in history] == list(range(6))
    assert history[-1]["loss"] < history[0]["loss"]


def test_an_interrupted_run_resumes_to_the_same_bits(tmp_path):
    whole = Regression()
    train(whole, 23, PLAN, random_state=1)
    with pytest.raises(KeyboardInterrupt):
        train(Regression(stop_at=3), 23, PLAN, random_state=1, checkpoint=tmp_path)
    resumed = Regression()
    history = train(resumed, 23, PLAN, random_state=1, checkpoint=tmp_path)
    assert {e for e, _ in resumed.seen} == {3, 4, 5}
    assert len(history) == 6
    assert torch.equal(resumed.w, whole.w)


def test_a_checkpoint_of_another_run_is_ignored(tmp_path, caplog):
    train(Regression(), 23, PLAN, checkpoint=tmp_path, identity="a")
    other = Regression()
    train(other, 23, PLAN, checkpoint=tmp_path, identity="b")
    assert {e for e, _ in other.seen} == set(range(6))
    assert "it is of another run" in caplog.text
    assert json.loads((tmp_path / "training.json").read_text())["history"][-1]["epoch"] == 5
    assert len(list(tmp_path.glob("epoch-*.safetensors"))) == 1


@pytest.mark.parametrize("name", ["training.json", "epoch-6.safetensors"])
def test_a_damaged_checkpoint_is_ignored(tmp_path, caplog, name):
    train(Regression(), 23, PLAN, checkpoint=tmp_path)
    (tmp_path / name).write_bytes(b"")
    again = Regression()
    train(again, 23, PLAN, checkpoint=tmp_path)
    assert {e for e, _ in again.seen} == set(range(6))
    assert "ignoring the damaged checkpoint" in caplog.text


def test_seed_zero_is_a_seed_and_seeds_differ():
    runs = {}
    for key, seed in {"a": 0, "b": 0, "c": 1}.items():
        module = Regression()
        train(module, 23, PLAN, random_state=seed)
        runs[key] = module.w.detach()
    assert torch.equal(runs["a"], runs["b"])
    assert not torch.equal(runs["a"], runs["c"])


def test_global_random_state_is_untouched():
    torch.manual_seed(5)
    np.random.seed(5)  # noqa: NPY002
    expected = torch.rand(2), np.random.rand(2)  # noqa: NPY002
    torch.manual_seed(5)
    np.random.seed(5)  # noqa: NPY002
    train(Regression(), 23, PLAN)
    assert torch.equal(torch.rand(2), expected[0])
    assert (np.random.rand(2) == expected[1]).all()  # noqa: NPY002


def test_divergence_is_said_in_words():
    with pytest.raises(LabelSieveError, match=r"diverged in epoch \d+ .*lower the learning rate"):
        train(Regression(), 23, TrainingPlan(epochs=300, lr=1e6, warmup_epochs=0))


def test_bad_plans_are_refused_together():
    with pytest.raises(InputError, match=r"2 problems\n- epochs .* not -1\n- lr .* not nan"):
        train(Regression(), 23, TrainingPlan(epochs=-1, lr=float("nan")))
    with pytest.raises(
        InputError, match=r"2 problems\n- epochs .* not True\n- momentum .* not 'x'"
    ):
        TrainingPlan(epochs=True, momentum="x").check()


def test_selection_chooses_the_rows_of_an_epoch():
    class Halves(Regression):
        def begin_epoch(self, epoch, generator):
            return torch.arange(epoch % 2, 23, 2)

    module = Halves()
    history = train(module, 23, PLAN)
    assert [record["rows"] for record in history] == [12, 11, 12, 11, 12, 11]
    assert all(row % 2 == e % 2 for e, batch in module.seen for row in batch)


def test_the_gradient_scale_of_float16_is_kept(tmp_path):
    module = nn.Linear(2, 1)
    optimizer = torch.optim.SGD(module.parameters(), lr=0.1)

    def scaler():
        return torch.amp.GradScaler("cpu", init_scale=1024.0, growth_interval=2)

    used = scaler()
    for value in (
        1.0,
        1.0,
        float("inf"),
    ):  # grows after two finite steps, halves after one that is not
        optimizer.zero_grad()
        used.scale(value * module(torch.ones(1, 2)).sum()).backward()
        used.step(optimizer)
        used.update()
    assert used.get_scale() == 1024.0
    used.scale(module(torch.ones(1, 2)).sum()).backward()
    used.step(optimizer)
    used.update()
    Checkpoint(tmp_path, [], used).store(module, optimizer, [{"epoch": 0}])
    resumed = scaler()
    Checkpoint(tmp_path, [], resumed).restore(module, optimizer)
    assert resumed.state_dict() == used.state_dict()
