"""Settings of TSM on MobileNetV2 for MMAction2: those of its own config, with this input and one epoch."""

import mmaction.utils.dependency

mmaction.utils.dependency.WITH_MULTIMODAL = False  # its language models need transformers 4
from mmaction.utils import register_all_modules
from mmengine import Config

register_all_modules()


def config(train, val, classes, frames, size):
    resized = dict(type="Resize", scale=(-1, round(size / 0.875)))
    end = [dict(type="FormatShape", input_format="NCHW"), dict(type="PackActionInputs")]

    def start(**test):
        sample = dict(type="SampleFrames", clip_len=1, frame_interval=1, num_clips=frames, **test)
        return [dict(type="PyAVInit"), sample, dict(type="PyAVDecode"), resized]

    for_training = [
        *start(),
        dict(type="MultiScaleCrop", input_size=size, scales=(1, 0.875, 0.75, 0.66), max_wh_scale_gap=1),
        dict(type="Resize", scale=(size, size), keep_ratio=False),
        dict(type="Flip", flip_ratio=0.5),
        *end,
    ]
    for_test = [*start(test_mode=True), dict(type="CenterCrop", crop_size=size), *end]

    def loader(path, pipeline, shuffle):
        return dict(
            batch_size=8,
            num_workers=2,
            sampler=dict(type="DefaultSampler", shuffle=shuffle),
            dataset=dict(type="VideoDataset", ann_file=path, pipeline=pipeline, test_mode=not shuffle),
        )

    return Config(
        dict(
            default_scope="mmaction",
            model=dict(
                type="Recognizer2D",
                backbone=dict(type="MobileNetV2TSM", pretrained2d=False, shift_div=8, num_segments=frames),
                cls_head=dict(
                    type="TSMHead",
                    num_segments=frames,
                    num_classes=classes,
                    in_channels=1280,
                    spatial_type="avg",
                    consensus=dict(type="AvgConsensus", dim=1),
                    dropout_ratio=0.5,
                    is_shift=True,
                    average_clips="prob",
                ),
                data_preprocessor=dict(
                    type="ActionDataPreprocessor", mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375]
                ),
            ),
            train_dataloader=loader(train, for_training, True),
            val_dataloader=loader(val, for_test, False),
            test_pipeline=for_test,
            val_evaluator=dict(type="AccMetric"),
            train_cfg=dict(type="EpochBasedTrainLoop", max_epochs=1),
            val_cfg=dict(type="ValLoop"),
            optim_wrapper=dict(optimizer=dict(type="AdamW", lr=5e-4, weight_decay=0.05)),
            default_hooks=dict(checkpoint=dict(type="CheckpointHook", interval=1)),
        )
    )
