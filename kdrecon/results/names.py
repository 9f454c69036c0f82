"""What a network is called in tables, and in which order they stand there."""

from collections import Counter

from kdrecon.choices import BASELINES
from kdrecon.runs.experiment import ROLES, sides
from kdrecon.runs.record import Record
from kdrecon.runs.switches import matched_start

PLACE = ("dataset", "acceleration", "resolution", "split", "slices")


def identity(record: Record) -> dict:
    """What makes a network what it is, without its seed: settings, training data, origin, and the slices it was scored on.

    A record of an older version lacks the newer settings: they had their defaults.
    """
    config = {"data": ""} | record.experiment.config() | record.config
    settings = {name: value for name, value in config.items() if name not in ("model", "role", "seed", "weight")}
    scored = {"split": record.evaluation.split, "slices": record.evaluation.data}
    return {
        "model": config["role"],
        "network": config["model"],
        **settings,
        **scored,
        "origin": record.origin,
    }


def network_name(network: dict, others: list[dict]) -> str:
    """A short name for a network among others: its kind, then every setting in which it differs from the usual one.

    Args:
        network: an :func:`identity`.
        others: identities of all networks of the table, this one among them. The usual value is the most frequent
            one among those with the same role (a control is a student), and for init the paper's.
    """
    kind = ({"sft_teacher": "SFT teacher"} | BASELINES).get(network["model"], network["model"])
    if network["method"]:
        kind = f"{'SFT-KD' if network['teacher'] == 'sft' else 'Std-KD'} {method_name(network['method'])}"
    role = "student" if network["model"] == "control" else network["model"]
    peers = [other for other in others if other["model"] == role] or [network]
    usual = {name: Counter(str(peer.get(name, "")) for peer in peers).most_common(1)[0][0] for name in network}
    usual["init"] = matched_start(network["teacher"])
    told = ("model", "teacher", "method", "origin")
    differing = [f"{name} {value}" for name, value in network.items() if name not in told and str(value) != usual[name]]
    return ", ".join([kind, *differing])


def reading_order(network: dict) -> tuple:
    """Sort key of an :func:`identity`: baseline, teacher, student, SFT teacher, controls, Std-KD, SFT-KD."""
    kind = ROLES.index(network["model"]), bool(network["method"]), network["teacher"] == "sft"
    place = network["dataset"], network["acceleration"], sides(network["resolution"])
    return *place, kind[1], kind, network["method"], network["init"], network["epochs"]


def method_name(key: str) -> str:
    """How papers write a distillation method: "at" -> "AT", "fitnets" -> "FitNets"."""
    return {"fitnets": "FitNets"}.get(key, key.upper())
