r"""What do pairs judged by people teach a language model that has read a great deal already?

    python -m rmjax.train --config=experiments/finetune.py --workdir=runs/finetune --config.pretrained=Qwen/Qwen3-0.6B
    python -m rmjax.evaluate --workdir=runs/finetune --data=hh_rlhf/helpful-base:test --report=runs/finetune/report

Adapters of rank 16 and the reward head are trained, beside a base in bfloat16; ``docs/finetuning.md`` goes all the way
to a served reward. HH's transcripts become messages, so that the model's own chat template renders them.
Hardware: one GPU; a CPU for a model as small as a test's. It was run with tiny models with random weights alone.
"""

from rmjax.config import ExperimentConfig, OnError
from rmjax.model_config import ComputeDtype


def get_config() -> ExperimentConfig:
    config = ExperimentConfig(steps=1000, evaluate_every=100)
    config.pretrained = "Qwen/Qwen3-0.6B"
    config.dimension = "helpfulness"
    config.data.train = ("hh_rlhf/helpful-base:train",)
    config.data.on_error = OnError.SKIP  # a few responses of HH are beyond the limit: skipped and counted
    config.data.transcripts_as_messages = True
    config.text.max_prompt_tokens = 1024
    config.text.max_response_tokens = 512
    config.batch.row_length = 2048
    config.batch.rows = 8
    config.model.compute_dtype = ComputeDtype.BFLOAT16
    config.tuning.lora_rank = 16
    config.tuning.lora_alpha = 32.0
    config.tuning.frozen_dtype = ComputeDtype.BFLOAT16
    config.optimizer.learning_rate = 2e-4
    config.optimizer.weight_decay = 0.0
    return config
