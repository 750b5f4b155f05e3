"""Optimisers and the course of their rates."""

import pytest
from torch import nn

from segmentation.training.run import build_optimizer, build_schedule


class Toy(nn.Module):
    def __init__(self):
        super().__init__()
        self.encoder = nn.Linear(2, 2)
        self.head = nn.Linear(2, 1)


def rates(row, steps, epochs):
    """Return the rate of the head at each step, with so many steps an epoch."""
    network = Toy()
    optimizer = build_optimizer(network, row)
    schedule = build_schedule(optimizer, row, steps)
    head = next(g for g in optimizer.param_groups if any(p is network.head.weight for p in g["params"]))
    found = []
    for step in range(steps):
        found.append(head["lr"])
        optimizer.step()
        if row.schedule != "plateau":
            schedule.step()
        elif (step + 1) % (steps // epochs) == 0:
            schedule.step(1.0)
    return found


def test_schedules_by_name(make_row):
    found = rates(make_row(schedule="steps", milestones=(3, 5), lr=0.4, epochs=6), 12, 6)
    assert found == pytest.approx([0.4] * 4 + [0.2] * 4 + [0.1] * 4)
    poly = rates(make_row(schedule="poly", warmup=0.2, lr=1.0), 10, 1)
    assert poly == pytest.approx([1e-6, 0.45, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2, 0.1])
    plateau = rates(make_row(schedule="plateau", lr=1.0), 13, 13)  # the loss never gets better: 10 epochs of patience
    assert plateau == pytest.approx([1.0] * 12 + [0.5])
    assert rates(make_row(schedule="constant", lr=1.0), 5, 1) == [1.0] * 5


@pytest.mark.parametrize("optimizer", ["adamw", "adam", "sgd"])
def test_encoder_and_norms_have_rates_and_decays_of_their_own(make_row, optimizer):
    network = Toy()
    row = make_row(optimizer=optimizer, lr=0.4, encoder_lr=0.1, weight_decay=0.5, decay_norms=False)
    built = build_optimizer(network, row)
    found = {id(p): (g["lr"], g["weight_decay"]) for g in built.param_groups for p in g["params"]}
    assert found[id(network.encoder.weight)] == pytest.approx((0.04, 0.5))
    assert found[id(network.encoder.bias)] == pytest.approx((0.04, 0.0))
    assert found[id(network.head.weight)] == pytest.approx((0.4, 0.5))
    assert found[id(network.head.bias)] == pytest.approx((0.4, 0.0))
    if optimizer == "sgd":
        assert (built.param_groups[0]["momentum"], built.param_groups[0]["nesterov"]) == (0.9, True)
