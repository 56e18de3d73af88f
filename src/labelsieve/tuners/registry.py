"""The names of the tuners."""

from __future__ import annotations

from ..core.registry import Registry

TUNERS = Registry(
    "tuner",
    {
        "zero-shot": "labelsieve.tuners.zero_shot:ZeroShot",
        "coop": "labelsieve.tuners.coop:CoOp",
        "nlprompt": "labelsieve.tuners.nlprompt:NLPrompt",
        "joapr": "labelsieve.tuners.joapr:JoAPR",
        "classifier-r": "labelsieve.tuners.classifier:CosineClassifier",
        "classifier-c": "labelsieve.tuners.classifier:classifier_c",
        "tenc-ft": "labelsieve.tuners.text_encoder_tuning:TextEncoderTuning",
        "tip-adapter": "labelsieve.tuners.tip_adapter:TipAdapter",
        "posterior": "labelsieve.tuners.posterior:PosteriorClassifier",
        "robust-upl": "labelsieve.tuners.robust_upl:RobustUPL",
        "fft": "labelsieve.tuners.fine_tune:FineTune",
        "vpt": "labelsieve.tuners.paradigms:vpt",
        "vlpt": "labelsieve.tuners.paradigms:vlpt",
    },
)
