"""From a DP-SGD configuration to a running learner."""

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import tensorflow as tf

from workbench.core.assembly import Assembly
from workbench.core.config import build as build_component
from workbench.datasets.base import Dataset
from workbench.models.classifier import classifier
from workbench.privacy.audit import Audit
from workbench.privacy.canaries import Canaries
from workbench.privacy.clipping import clipping_of
from workbench.privacy.config import AuditConfig, DpSgdConfig, PrivacyConfig
from workbench.privacy.features import Prepared
from workbench.privacy.learner import DpSgd
from workbench.privacy.ledger import Ledger
from workbench.privacy.mechanism import Poisson
from workbench.privacy.release import Release

if TYPE_CHECKING:
    from dp_accounting import DpEvent

    from workbench.privacy.shadows import Membership


def build(
    config: DpSgdConfig,
    *,
    dataset: Any,
    features: Any,
    network: Any,
    privacy: PrivacyConfig,
    seed: int,
) -> Assembly:
    """A classifier and how it is trained; with privacy, accounted for."""
    prepared: Prepared = build_component(features, build_component(dataset), seed)
    data = prepared.data
    model = classifier(network, data.train.features.shape[1:], data.classes, seed)
    learner, ledger = learner_on(config, model, data, privacy, prepared.events, seed)
    assembly = Assembly(learner)
    if ledger is not None:
        assembly.artifacts.append(lambda folder: ledger.write(folder, learner.taken))
        assembly.notes += ledger.plan(config.steps)
    if learner.audit:
        assembly.artifacts.append(learner.audit.write)
        assembly.verdicts.append(learner.audit.verdict)
    if privacy.membership.enabled:
        attacks = _membership(config, network, privacy, learner, data, seed)
        assembly.artifacts.append(attacks.write)
        assembly.verdicts.append(attacks.verdict)
    return assembly


def _membership(
    config: DpSgdConfig,
    network: Any,
    privacy: PrivacyConfig,
    learner: DpSgd,
    data: Dataset,
    seed: int,
) -> "Membership":
    """Attacks on a training; shadow models are trained with the noise that it has."""
    from workbench.privacy.shadows import Membership

    noise = learner.release.mechanism.noise if learner.release else 1.0
    alike = replace(privacy, noise_multiplier=noise, epsilon=None, audit=AuditConfig())

    def shadow(examples: Dataset, seed: int) -> DpSgd:
        model = classifier(network, examples.train.features.shape[1:], examples.classes, seed)
        return learner_on(config, model, examples, alike)[0]

    return Membership(
        learner,
        data,
        shadow,
        shadows=privacy.membership.shadows,
        steps=config.steps if learner.limit is None else min(config.steps, learner.limit),
        delta=privacy.delta if privacy.enabled else 0.0,
        seed=seed,
    )


def learner_on(
    config: DpSgdConfig,
    model: tf.keras.Model,
    data: Dataset,
    privacy: PrivacyConfig,
    events: Sequence["DpEvent"] = (),
    seed: int = 0,
) -> tuple[DpSgd, Ledger | None]:
    """DP-SGD of a model of one's own on data of one's own, and its ledger where it is private.

    Args:
      model: any Keras model that keeps examples apart, from features to logits.
      events: what preparing the data has released.
      seed: of an audit's coins.
    """
    examples = len(data.train)
    if not privacy.enabled:
        return DpSgd(config, model, data, Poisson(examples, config.batch_size)), None
    ledger = Ledger.planned(privacy, examples, config.batch_size, config.steps, events)
    mechanism, canaries, audit = ledger.mechanism, None, None
    if privacy.audit.canaries:
        shapes = [variable.shape for variable in model.trainable_variables]
        canaries = Canaries(privacy.audit.canaries, mechanism, shapes, seed)
        audit = Audit(privacy, mechanism, canaries)
    release = Release(mechanism, clipping_of(privacy.clipping), canaries)
    return DpSgd(config, model, data, mechanism.sampling, release, ledger, audit), ledger
